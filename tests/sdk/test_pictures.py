"""Pictures: read here, checked, uploaded where they are large, and downloaded."""

from __future__ import annotations

import io
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, Message, errors, image
from stepwire._pictures import MAX_BYTES, MAX_INLINE_BYTES, MAX_REQUEST_BYTES
from stepwire.v1 import message_pb2
from tests.sdk.pictures import PNG, picture
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server


async def test_a_picture_goes_up_in_pieces_and_comes_down_whole(
    client: AsyncClient, server: Server, tmp_path: Path
) -> None:
    data = PNG + bytes(600_000)
    (tmp_path / "cat.png").write_bytes(data)
    stored = await client.upload_image(tmp_path / "cat.png")
    pieces = [len(request.chunk) for _, request in server.script.calls]
    assert pieces == [0, 262_144, 262_144, len(data) - 524_288]
    assert stored.name == "cat.png"
    again = await client.upload_image(io.BytesIO(data), name="dog.png")
    assert (again.blob_id, again.name) == (stored.blob_id, "dog.png")
    assert (await client.upload_image(data)).blob_id == stored.blob_id
    down = await client.download_image(stored.blob_id)
    assert (down.data, down.media_type) == (data, "image/png")


async def test_a_file_that_gives_text_or_is_not_there_is_the_callers_error(client: AsyncClient) -> None:
    with pytest.raises(TypeError, match="rb"):
        await client.upload_image(io.StringIO("x"))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        await client.upload_image("no-such-file.png")


async def test_an_upload_that_is_refused_early_says_why(client: AsyncClient, server: Server) -> None:
    async def refuses(requests: Any, context: Any) -> None:
        await anext(requests)
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "no picture", reason="UNSUPPORTED_IMAGE_FORMAT")

    server.on["UploadImage"] = refuses
    for _ in range(20):  # gRPC's own handling of this is a race
        with pytest.raises(errors.InvalidRequest) as caught:
            await client.upload_image(bytes(3_000_000))
        assert caught.value.reason == "UNSUPPORTED_IMAGE_FORMAT"


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")],
)
def test_a_local_picture_is_read_here(kind: str, media_type: str, tmp_path: Path) -> None:
    file = tmp_path / "no.extension"
    file.write_bytes(picture(kind))
    made = image(str(file), detail="low")
    assert (made.data, made.media_type, made.name, made.detail) == (picture(kind), media_type, "no.extension", "low")
    with file.open("rb") as opened:
        assert image(opened) == image(file)
    assert image(file.read_bytes(), name="x").name == "x"


def test_a_url_and_a_blob_are_references() -> None:
    assert image("https://example.org/cat.png") == message_pb2.Image(uri="https://example.org/cat.png")
    assert image("https://example.org/cat.png", fetch=True).fetch
    blob = f"sha256:{'0' * 64}"
    assert image(blob) == message_pb2.Image(blob_id=blob)
    assert image(message_pb2.Image(uri="https://example.org/x"), detail="high").detail == "high"


@pytest.mark.parametrize("source", [b"", b"%PDF", b"RIFF....AVI ", b"BM"])
def test_what_is_no_picture_is_refused_whatever_its_name(source: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(source)
    with pytest.raises(errors.InvalidRequest) as caught:
        image(tmp_path / "x.png")
    assert caught.value.reason == "UNSUPPORTED_IMAGE_FORMAT"


def test_twenty_mebibytes_pass_and_one_byte_more_does_not() -> None:
    exactly = PNG + bytes(MAX_BYTES - len(PNG))
    assert len(image(exactly).data) == 20 * 1024 * 1024
    with pytest.raises(errors.InvalidRequest) as caught:
        image(exactly + b"\0")
    assert caught.value.reason == "IMAGE_TOO_LARGE"


def pictures(*sizes: int) -> list[Message]:
    return [Message(text="x", images=[image(PNG + bytes([at] * (size - len(PNG))))]) for at, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "uploaded"),
    [
        ([MAX_INLINE_BYTES, MAX_INLINE_BYTES], []),
        ([MAX_INLINE_BYTES + 1, 100], [MAX_INLINE_BYTES + 1]),
        ([3_000_000, 2_000_000, 3_500_000, 1_000_000], [3_500_000]),
        ([MAX_REQUEST_BYTES, MAX_REQUEST_BYTES], [MAX_REQUEST_BYTES, MAX_REQUEST_BYTES]),
    ],
)
@pytest.mark.parametrize("call", ["chat", "append", "create"])
async def test_pictures_that_a_request_cannot_carry_are_uploaded_first(
    client: AsyncClient, server: Server, call: str, sizes: list[int], uploaded: list[int]
) -> None:
    await client.create_conversation(conversation_id="c1")
    messages = pictures(*sizes)
    match call:
        case "chat":
            await client.chat(messages=messages)
            sent = server.script.last("Chat")
        case "append":
            await client.append("c1", messages)
            sent = server.script.last("AppendMessages")
        case _:
            await client.create_conversation(messages=messages)
            sent = server.script.last("CreateConversation")
    blobs = [len(kept) for kept in await blobs_of(client, sent.messages)]
    assert sorted(blobs) == sorted(uploaded)
    assert all(message.images[0].data for message in messages)  # the caller's own are as they were
    assert all(message.images[0].media_type == "image/png" for message in sent.messages)


async def blobs_of(client: AsyncClient, messages: Any) -> list[bytes]:
    ids = [each.blob_id for message in messages for each in message.images if each.blob_id]
    return [(await client.download_image(blob_id)).data for blob_id in ids]


async def test_pictures_may_stand_in_the_json_of_a_message(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1")
    await client.append("c1", [{"text": "x", "images": [image(PNG), {"uri": "https://example.org/x"}]}])
    [message] = server.script.last("AppendMessages").messages
    assert [each.WhichOneof("source") for each in message.images] == ["data", "uri"]
    with pytest.raises(TypeError, match="Image"):
        await client.append("c1", [{"text": "x", "images": ["cat.png"]}])
    with pytest.raises(TypeError, match="is a list"):
        await client.append("c1", [{"text": "x", "images": image(PNG)}])


async def test_equal_pictures_are_uploaded_once(client: AsyncClient, server: Server) -> None:
    [large] = pictures(MAX_INLINE_BYTES + 1)
    await client.create_conversation(conversation_id="c1")
    await client.append("c1", [large, large])
    names = [request.name for name, request in server.script.calls if name == "UploadImage" and not request.chunk]
    assert len(names) == 1
    first, second = server.script.last("AppendMessages").messages
    assert first.images[0].blob_id == second.images[0].blob_id != ""


async def test_the_time_of_a_call_is_for_all_its_uploads(
    client: AsyncClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(step=100)  # goes on by 100 s whenever it is looked at
    monkeypatch.setattr("stepwire._pictures.time", SimpleNamespace(monotonic=lambda: next(clock)))
    left_s = []
    whole: Any = server.on["UploadImage"]

    async def note(requests: Any, context: Any) -> Any:
        left_s.append(round(context.time_remaining(), -2))
        return await whole(requests, context)

    server.on["UploadImage"] = note
    await client.create_conversation(conversation_id="c1")
    await client.append("c1", pictures(MAX_REQUEST_BYTES, MAX_REQUEST_BYTES), timeout_s=500)
    assert left_s == [400, 300]
