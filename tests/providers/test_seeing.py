"""Pictures for models: who may see them, and where their bytes come from."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from stepwired.errors import Failure, InvalidRequest, NotFound, Reason, Throttled
from stepwired.events import Batch, ChatRequest, Image, Message
from stepwired.limits import MIB
from stepwired.providers.base import Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http
from tests.fakeprov import Provider, behaviours

MODELS = [
    ModelEntry("blind", "chat", "acme", "b", is_default=True),
    ModelEntry("seer", "chat", "acme", "s", images=True),
]
STALL_S = 0.05
HANG_S = 60.0

BLOBS = {"sha256:1": b"one", "sha256:2": b"two"}
STORED = tuple(Image(blob_id=blob_id, media_type="image/png", size_bytes=3) for blob_id in BLOBS)
NAMED = tuple(Image(blob_id=blob_id, detail="high") for blob_id in BLOBS)


class Pictures:
    """The pictures that are stored."""

    def __init__(self, size_bytes: int = 3) -> None:
        self._size_bytes = size_bytes
        self.described: list[str] = []
        self.read: list[str] = []

    async def blob(self, blob_id: str) -> Image:
        self.described.append(blob_id)
        if blob_id not in BLOBS:
            raise NotFound(Reason.BLOB_NOT_FOUND, "no such picture")
        return Image(blob_id=blob_id, media_type="image/png", width=4, height=4, size_bytes=self._size_bytes)

    async def blob_chunks(self, blob_id: str) -> AsyncGenerator[bytes, None]:
        self.read.append(blob_id)
        if blob_id not in BLOBS:
            raise NotFound(Reason.BLOB_NOT_FOUND, "no such picture")
        yield BLOBS[blob_id][:1]
        yield BLOBS[blob_id][1:]


class SlowPictures(Pictures):
    """Pictures that are not read before they may be."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go_on = asyncio.Event(), asyncio.Event()

    async def blob_chunks(self, blob_id: str) -> AsyncGenerator[bytes, None]:
        self.reading.set()
        await self.go_on.wait()
        yield BLOBS[blob_id]


def catalogue(http: Http, base_url: str = "http://127.0.0.1:9/v1", kept: Pictures | None = None) -> Catalogue:
    return Catalogue([Endpoint("acme", static(base_url))], MODELS, http, kept or Pictures())


def asking(*images: Image, model: str = "seer") -> ChatRequest:
    return ChatRequest(
        model, messages=(Message(text="first"), Message(text="look", images=images), Message(text="so?"))
    )


async def all_of(batches: AsyncGenerator[Batch, None]) -> None:
    async with aclosing(batches) as reading:
        async for _ in reading:
            pass


@pytest.mark.parametrize("model", ["blind", ""])
async def test_a_model_without_eyes_refuses_pictures_at_once(http: Http, model: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        catalogue(http).chat(asking(Image(uri="http://x/"), model=model))
    assert caught.value.reason is Reason.MODEL_FEATURE_UNSUPPORTED
    assert caught.value.metadata == {"model": "blind", "feature": "images"}
    assert caught.value.violations[0].field == "model"


async def test_it_refuses_before_anything_is_done_with_them(http: Http) -> None:
    stored: list[ChatRequest] = []

    async def storing(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        stored.append(request)
        yield []

    chat = catalogue(http).checked(storing)
    for request, reason in (
        (asking(*STORED, model="blind"), Reason.MODEL_FEATURE_UNSUPPORTED),
        (asking(model="nobody"), Reason.MODEL_NOT_FOUND),
    ):
        with pytest.raises(Failure) as caught:
            chat(request)
        assert caught.value.reason is reason
    assert stored == []
    await all_of(chat(asking(model="blind")))
    await all_of(chat(asking(*STORED)))
    assert len(stored) == 2


@pytest.mark.parametrize(
    ("given", "described"), [(STORED, []), (NAMED, list(BLOBS)), ((*STORED[:1], *NAMED[1:]), ["sha256:2"])]
)
async def test_stored_pictures_are_sent_with_their_type_also_where_a_request_only_names_them(
    http: Http, given: tuple[Image, ...], described: list[str]
) -> None:
    kept = Pictures()
    async with Provider(behaviours.reply()) as provider:
        await all_of(catalogue(http, provider.base_url, kept).chat(asking(*given, Image(uri="http://x/"))))
        sent = provider.requests[0].json()["messages"]
    assert [message["content"] for message in (sent[0], sent[2])] == ["first", "so?"]
    assert [part["image_url"]["url"] for part in sent[1]["content"][1:]] == [
        "data:image/png;base64," + base64.b64encode(b"one").decode(),
        "data:image/png;base64," + base64.b64encode(b"two").decode(),
        "http://x/",
    ]
    assert [part["image_url"].get("detail", "auto") for part in sent[1]["content"][1:3]] == [
        image.detail for image in given
    ]
    assert kept.described == described


@pytest.mark.parametrize(
    "gone", [Image(blob_id="sha256:3", media_type="image/png", size_bytes=1), Image(blob_id="sha256:3")]
)
async def test_a_picture_that_is_gone_is_said_to_be(http: Http, gone: Image) -> None:
    with pytest.raises(NotFound) as caught:
        await all_of(catalogue(http).chat(asking(gone)))
    assert caught.value.reason is Reason.BLOB_NOT_FOUND


@pytest.mark.parametrize("given", [STORED[0], NAMED[0]])
async def test_more_pictures_than_memory_is_for_are_refused_before_they_are_read(http: Http, given: Image) -> None:
    pictures, kept = [replace(given, size_bytes=16 * MIB if given.size_bytes else 0)] * 5, Pictures(16 * MIB)
    with pytest.raises(InvalidRequest) as caught:
        await all_of(catalogue(http, kept=kept).chat(asking(*pictures)))
    assert caught.value.reason is Reason.IMAGE_TOO_LARGE
    assert caught.value.metadata == {"limitBytes": str(64 * MIB)}
    assert kept.described == ([] if given.size_bytes else [given.blob_id])  # one look at a picture shown five times
    assert kept.read == []


@pytest.mark.parametrize("given", [STORED, NAMED])
async def test_pictures_of_all_requests_share_the_memory_until_they_are_sent(
    http: Http, monkeypatch: pytest.MonkeyPatch, given: tuple[Image, ...]
) -> None:
    monkeypatch.setattr("stepwired.providers.catalogue.pictures._ALL_IMAGES_BYTES", 2 * len(given) * 3 - 1)
    kept = SlowPictures()
    async with Provider(behaviours.reply()) as provider:
        models = catalogue(http, provider.base_url, kept)
        first = asyncio.create_task(all_of(models.chat(asking(*given))))
        await kept.reading.wait()
        with pytest.raises(Throttled) as caught:
            await asyncio.wait_for(all_of(models.chat(asking(*given))), HANG_S)
        assert caught.value.reason is Reason.CONCURRENCY_LIMITED
        first.cancel()
        await asyncio.wait([first])
        kept.go_on.set()
        sent = models.chat(asking(*given))
        async with aclosing(sent):
            await anext(sent)  # from here on the first one holds nothing
            await all_of(models.chat(asking(*given)))


async def test_a_large_picture_is_written_without_holding_up_anybody(http: Http) -> None:
    longest_s, is_over = 0.0, False

    async def beat() -> None:
        nonlocal longest_s
        while not is_over:
            before_s = time.thread_time()  # what this thread itself worked, so that others do not count
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.thread_time() - before_s)

    async with Provider(behaviours.reply()) as provider:
        beating = asyncio.create_task(beat())
        try:
            picture = Image(data=bytes(20 * MIB), media_type="image/png")
            await all_of(catalogue(http, provider.base_url).chat(asking(picture)))
        finally:
            is_over = True
            await beating
        assert len(provider.requests[0].body) > 26 * MIB
    assert longest_s < STALL_S
