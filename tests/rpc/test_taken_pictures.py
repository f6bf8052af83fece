"""Pictures that the server gets by itself: once for a request however often it is repeated, and few at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest

from stepwired.errors import InvalidRequest, Reason, Throttled
from stepwired.events import Batch, ChatRequest, Image, Message, Role
from stepwired.images import Picture
from stepwired.limits import Limits
from stepwired.rpc.pictures import Pictures
from stepwired.store.parts import Blobs
from tests.imaging.corpus import drawn
from tests.rpc.keeping import Asking, refused, stored
from tests.rpc.serving import STARTED

PNG = drawn("PNG", (40, 30))


async def test_a_repeat_is_answered_though_its_picture_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "files" / "a.png"
    file.parent.mkdir()
    file.write_bytes(PNG)
    messages: list[dict[str, Any]] = [{"text": "look", "images": [{"server_path": str(file)}]}]
    async with stored(tmp_path / "data", roots=[file.parent]) as client:
        ask = Asking(client)
        made = await ask.CreateConversation(conversation_id="c", messages=messages, request_id="r")
        added = await ask.AppendMessages(conversation_id="c", messages=messages, request_id="r")
        file.unlink()
        assert await ask.CreateConversation(conversation_id="c", messages=messages, request_id="r") == made
        assert await ask.AppendMessages(conversation_id="c", messages=messages, request_id="r") == added
        assert len(await ask.messages()) == 2
        for again in (
            ask.CreateConversation(conversation_id="d", messages=messages, request_id="r"),
            ask.AppendMessages(conversation_id="c", messages=[*messages, *messages], request_id="r"),
        ):
            assert (await refused(again)).reason == "REQUEST_ID_MISMATCH"
        new = await refused(ask.AppendMessages(conversation_id="c", messages=messages, request_id="new"))
        assert new.reason == "FILE_NOT_FOUND"


class Log:
    """Gets pictures of a thousand bytes, and keeps them; tells what it did and how much was held."""

    def __init__(self, limits: Limits) -> None:
        self.did: list[str] = []
        self.pictures = Pictures(self, cast("Blobs", self), limits)

    async def check(self, data: bytes, field: str) -> Picture:
        raise NotImplementedError

    async def take(self, image: Image, field: str) -> Image:
        self.did.append(f"take {image.name}")
        return Image(name=image.name, data=image.data or b"x" * 1000)

    async def put_blob(self, image: Image, data: bytes) -> str:
        self.did.append(f"put {image.name} {self.pictures.uploads.held_bytes}")
        return "sha256:" + "0" * 64


def named(*names: str) -> list[Message]:
    return [Message(role=Role.USER, images=tuple(Image(name=name, server_path=f"/{name}") for name in names))]


async def test_no_two_pictures_that_the_server_gets_are_held_at_a_time() -> None:
    log = Log(Limits())
    (message,) = await log.pictures.taken(named("a", "b"))
    assert log.did == ["take a", "put a 1000", "take b", "put b 1000"]
    assert [(image.data, bool(image.blob_id)) for image in message.images] == [(b"", True)] * 2
    assert log.pictures.uploads.held_bytes == 0


async def test_bytes_of_a_request_are_stored_only_when_all_are_good() -> None:
    log = Log(Limits())
    await log.pictures.taken([Message(role=Role.USER, images=(Image(name="a", data=b"a"), Image(name="b", data=b"b")))])
    assert log.did == ["take a", "take b", "put a 0", "put b 0"]


@pytest.mark.parametrize("limits", [Limits(taken_images=2), Limits(taken_images_bytes=2999)])
async def test_the_server_gets_only_so_many_pictures_for_one_request(limits: Limits) -> None:
    log = Log(limits)
    await log.pictures.taken(named("a", "b"))
    with pytest.raises(InvalidRequest) as caught:
        await log.pictures.taken(named("a", "b", "c"))
    assert caught.value.reason is Reason.IMAGE_TOO_LARGE
    assert [violation.field for violation in caught.value.violations] == ["messages[0].images[2]"]
    assert log.pictures.uploads.held_bytes == 0


async def test_pictures_of_a_chat_count_among_uploads_until_it_ends() -> None:
    log = Log(Limits(uploads_bytes=2500))
    seen: list[int] = []

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        seen.append(log.pictures.uploads.held_bytes)
        yield [STARTED]

    async def ask(*names: str) -> None:
        async for _ in log.pictures.taking(chat)(ChatRequest(model="m", messages=tuple(named(*names)))):
            pass

    await ask("a", "b")
    with pytest.raises(Throttled) as caught:
        await ask("a", "b", "c")
    assert caught.value.reason is Reason.CONCURRENCY_LIMITED
    assert (seen, log.pictures.uploads.held_bytes) == ([2000], 0)
