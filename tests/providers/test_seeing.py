"""Pictures for models: who may see them, and where their bytes come from."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

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

BLOBS = {"sha256:1": b"one", "sha256:2": b"two"}
STORED = tuple(Image(blob_id=blob_id, media_type="image/png", size_bytes=3) for blob_id in BLOBS)


async def resolve(blob_id: str) -> bytes:
    if blob_id not in BLOBS:
        raise NotFound(Reason.BLOB_NOT_FOUND, "no such picture")
    return BLOBS[blob_id]


def catalogue(http: Http, base_url: str = "http://127.0.0.1:9/v1") -> Catalogue:
    return Catalogue([Endpoint("acme", static(base_url))], MODELS, http, resolve)


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


async def test_the_bytes_of_stored_pictures_are_sent(http: Http) -> None:
    async with Provider(behaviours.reply()) as provider:
        await all_of(catalogue(http, provider.base_url).chat(asking(*STORED, Image(uri="http://x/"))))
        sent = provider.requests[0].json()["messages"]
    assert [message["content"] for message in (sent[0], sent[2])] == ["first", "so?"]
    assert [part["image_url"]["url"] for part in sent[1]["content"][1:]] == [
        "data:image/png;base64," + base64.b64encode(b"one").decode(),
        "data:image/png;base64," + base64.b64encode(b"two").decode(),
        "http://x/",
    ]


async def test_a_picture_that_is_gone_is_said_to_be(http: Http) -> None:
    with pytest.raises(NotFound) as caught:
        await all_of(catalogue(http).chat(asking(Image(blob_id="sha256:3", media_type="image/png", size_bytes=1))))
    assert caught.value.reason is Reason.BLOB_NOT_FOUND


async def test_more_pictures_than_memory_is_for_are_refused_before_they_are_read(http: Http) -> None:
    pictures = [Image(blob_id="sha256:3", media_type="image/png", size_bytes=16 * MIB)] * 5
    with pytest.raises(InvalidRequest) as caught:
        await all_of(catalogue(http).chat(asking(*pictures)))
    assert caught.value.reason is Reason.IMAGE_TOO_LARGE


async def test_pictures_of_all_requests_share_the_memory_until_they_are_sent(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwired.providers.catalogue.pictures._ALL_IMAGES_BYTES", 2 * len(STORED) * 3 - 1)
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(blob_id: str) -> bytes:
        reading.set()
        await go_on.wait()
        return BLOBS[blob_id]

    async with Provider(behaviours.reply()) as provider:
        models = Catalogue([Endpoint("acme", static(provider.base_url))], MODELS, http, slowly)
        first = asyncio.create_task(all_of(models.chat(asking(*STORED))))
        await reading.wait()
        with pytest.raises(Throttled) as caught:
            await all_of(models.chat(asking(*STORED)))
        assert caught.value.reason is Reason.CONCURRENCY_LIMITED
        first.cancel()
        await asyncio.wait([first])
        go_on.set()
        sent = models.chat(asking(*STORED))
        async with aclosing(sent):
            await anext(sent)  # from here on the first one holds nothing
            await all_of(models.chat(asking(*STORED)))


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
