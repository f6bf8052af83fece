"""Pictures over the wire: in messages, uploaded and downloaded, and what is refused of them."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwire.v1 import chat_pb2, conversation_pb2
from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Batch, ChatRequest
from stepwired.limits import MIB, Limits
from stepwired.rpc.stall import Incoming
from stepwired.rpc.uploads import Uploads
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.imaging.corpus import drawn, png_of_bytes
from tests.rpc.keeping import Asking, Upload, refused, stored
from tests.rpc.serving import SOON_S, echo, serve, told, until, within

PNG = drawn("PNG", (40, 30))
JPEG = drawn("JPEG", (20, 10))


def blob_id(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def inline(data: bytes, **more: Any) -> dict[str, Any]:
    return {"text": "look", "images": [{"data": b64encode(data).decode(), **more}]}


async def test_bytes_in_a_message_come_back_as_a_blob_or_as_bytes_when_asked(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        image = {"name": "p", "detail": "low", "media_type": "image/gif", "width": 9}
        await ask.CreateConversation(conversation_id="c", messages=[{"id": "a", **inline(PNG, **image)}])
        shown = (await ask.GetMessage(conversation_id="c", message_id="a")).message.images[0]
        assert (shown.blob_id, shown.media_type, shown.width, shown.height) == (blob_id(PNG), "image/png", 40, 30)
        assert (shown.name, shown.detail, shown.size_bytes) == ("p", "low", len(PNG))
        (streamed,) = await ask.messages()
        assert streamed.images[0] == shown
        (with_bytes,) = await ask.messages(image_bytes=True)
        assert with_bytes.images[0].data == PNG
        got = await ask.GetMessage(conversation_id="c", message_id="a", image_bytes=True)
        assert got.message == with_bytes
        # As it comes back it can be sent: by its blob, or by its bytes.
        await ask.AppendMessages(conversation_id="c", messages=[{"images": [{"blob_id": shown.blob_id}]}])
        stored_again = (await ask.messages())[1].images[0]
        assert (stored_again.media_type, stored_again.width, stored_again.size_bytes) == ("image/png", 40, len(PNG))
        described, data = await ask.download(shown.blob_id)
        assert (described.blob_id, described.width, data) == (shown.blob_id, 40, PNG)


async def test_an_address_is_kept_as_it_is_and_not_fetched_unless_that_is_allowed(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        image = {"uri": "https://nowhere.invalid/b.bmp?x=1", "media_type": "image/bmp", "name": "n"}
        await ask.CreateConversation(conversation_id="c", messages=[{"images": [image]}])
        (message,) = await ask.messages(image_bytes=True)
        shown = message.images[0]
        assert (shown.uri, shown.media_type, shown.name, shown.width) == (image["uri"], "image/bmp", "n", 0)
        for given, reason, field in (
            ({"uri": "https://127.0.0.1/a.png", "fetch": True}, "IMAGE_URL_UNAVAILABLE", "messages[1].images[0].uri"),
            ({"server_path": "/etc/passwd"}, "FILE_ACCESS_DENIED", None),
        ):
            error = await refused(
                ask.AppendMessages(conversation_id="c", messages=[{"text": "x"}, {"images": [given]}])
            )
            assert error.reason == reason
            assert error.fields == ([(field, reason)] if field else [])
        assert len(await ask.messages()) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no picture", "UNSUPPORTED_IMAGE_FORMAT"),
        (PNG[:-30], "IMAGE_DECODE_FAILED"),
        (b"BM" + PNG, "UNSUPPORTED_IMAGE_FORMAT"),
    ],
)
async def test_what_is_no_picture_is_refused_by_its_place_and_nothing_is_stored(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c")
        error = await refused(ask.AppendMessages(conversation_id="c", messages=[inline(JPEG), inline(data)]))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert error.fields == [("messages[1].images[0].data", reason)]
        assert (await refused(ask.download(blob_id(JPEG)))).reason == "BLOB_NOT_FOUND"
        error = await refused(ask.upload(data))
        assert (error.reason, error.fields) == (reason, [("chunk", reason)])
        assert await ask.messages() == []


async def test_a_picture_is_uploaded_in_pieces_and_downloaded_in_pieces(tmp_path: Path) -> None:
    large = png_of_bytes(3 * MIB)
    async with stored(tmp_path) as client:
        ask = Asking(client)
        for data, name in ((PNG, "small"), (large, "")):
            image = await ask.upload(data, name)
            assert (image.blob_id, image.size_bytes, image.name) == (blob_id(data), len(data), name)
            assert (await ask.upload(data, name, chunk_bytes=10_000)) == image
            described, back = await ask.download(image.blob_id)
            assert back == data
            assert (described.blob_id, described.media_type) == (image.blob_id, "image/png")
        unknown = blob_id(b"unknown")
        assert (await refused(ask.download(unknown))).reason == "BLOB_NOT_FOUND"
        error = await refused(ask.CreateConversation(messages=[{"images": [{"blob_id": unknown}]}]))
        assert error.reason == "BLOB_NOT_FOUND"


async def test_pieces_have_their_limits(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        upload = client.conversations.UploadImage
        error = await refused(upload(iter([Upload(chunk=b"x" * (256 * 1024 + 1))])))
        assert error.fields == [("chunk", "FIELD_INVALID")]
        error = await refused(upload(iter([Upload(chunk=PNG), Upload(name="late")])))
        assert error.fields == [("name", "FIELD_INVALID")]
        assert (await refused(upload(iter([])))).reason == "UNSUPPORTED_IMAGE_FORMAT"
        assert (await refused(upload(iter([Upload(name="only")])))).reason == "UNSUPPORTED_IMAGE_FORMAT"


async def test_one_byte_too_many_is_refused_at_once_while_the_caller_still_sends(tmp_path: Path) -> None:
    limits = Limits(image_bytes=MIB)
    async with stored(tmp_path, limits) as client:
        ask = Asking(client)
        whole = png_of_bytes(MIB)
        assert (await ask.upload(whole)).size_bytes == MIB

        upload: Any = client.conversations.UploadImage()
        for at in range(0, MIB, 256 * 1024):
            await upload.write(Upload(chunk=whole[at : at + 256 * 1024]))
        await upload.write(Upload(chunk=b"x"))
        error = await within(refused(upload))  # never half-closed: the answer does not wait for it
        assert (error.reason, error.facts["limitBytes"]) == ("IMAGE_TOO_LARGE", str(MIB))


async def test_a_caller_who_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        upload: Any = client.conversations.UploadImage()
        await upload.write(Upload(chunk=PNG[: len(PNG) // 2]))
        upload.cancel()
        # Not always as CANCELLED: to the server a cancel may look like the end of what is sent, which is no picture.
        await until(lambda: client.metrics.calls)
        assert (await refused(ask.download(blob_id(PNG)))).reason == "BLOB_NOT_FOUND"


async def test_a_caller_who_falls_silent_is_told_so(tmp_path: Path) -> None:
    async with stored(tmp_path, Limits(stalled_sender_s=0.1)) as client:
        upload: Any = client.conversations.UploadImage()
        await upload.write(Upload(chunk=PNG[:10]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(upload)
        error = told(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_PRODUCER")
        assert error.facts == {"limitSeconds": "0.1"}


async def test_a_caller_who_sends_only_empty_pieces_is_a_silent_one(tmp_path: Path) -> None:
    async with stored(tmp_path, Limits(stalled_sender_s=0.2)) as client:
        upload: Any = client.conversations.UploadImage()
        await upload.write(Upload(chunk=PNG[:10]))

        async def send() -> None:
            while not upload.done():
                await upload.write(Upload())

        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await within(send())
        assert (await refused(upload)).reason == "SLOW_PRODUCER"


async def test_a_file_counts_as_long_as_a_thread_reads_it() -> None:
    uploads = Uploads(Limits())
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: bytearray) -> None:
        begun.set()
        go_on.wait(SOON_S)

    async def take() -> None:
        with uploads.holding(1000, InvalidRequest(Reason.FIELD_INVALID, "too large")) as upload:
            await upload.add_all(Upload(chunk=b"x" * 100), aiter(Incoming(nothing())))
            await upload.read(slow)

    async def nothing() -> AsyncGenerator[conversation_pb2.UploadImageRequest]:
        return
        yield

    taking = asyncio.create_task(take())
    try:
        await until(begun.is_set)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(taking)
        assert uploads.held_bytes == 100
    finally:
        go_on.set()
    await until(lambda: uploads.held_bytes == 0)


async def test_damaged_bytes_in_the_middle_of_an_upload_are_refused(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        upload: Any = client.channel.stream_unary("/stepwire.v1.ConversationService/UploadImage")()
        await upload.write(Upload(chunk=PNG[:10]).SerializeToString())
        await upload.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(upload)
        assert told(caught.value).reason == "MALFORMED_REQUEST"


async def test_all_uploads_together_have_a_limit_and_give_back_what_they_held(tmp_path: Path) -> None:
    async with stored(tmp_path, Limits(uploads_bytes=1000)) as client:
        ask = Asking(client)
        held: Any = client.conversations.UploadImage()
        await held.write(Upload(chunk=b"x" * 900))
        async with asyncio.timeout(SOON_S):
            while (error := await refused(ask.upload(b"x" * 101))).reason != "CONCURRENCY_LIMITED":
                pass  # the first has not arrived
        assert error.retry_after_s == 1.0
        ended = len(client.metrics.calls)
        held.cancel()
        # Not always as CANCELLED: to the server a cancel may look like the end of what is sent, which is no picture.
        await until(lambda: len(client.metrics.calls) > ended)
        assert (await ask.upload(PNG)).size_bytes == len(PNG)


async def test_pictures_of_a_chat_are_checked_and_kept_only_with_a_conversation(tmp_path: Path) -> None:
    asked: list[ChatRequest] = []

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        asked.append(request)
        async with aclosing(echo(request)) as batches:
            async for batch in batches:
                yield batch

    store = await SqliteStore.open(tmp_path)
    async with serve(recorded(chat, store), store=store) as client:
        ask = Asking(client)
        request = chat_pb2.ChatRequest(messages=[{"text": "look", "images": [{"data": PNG}]}])
        await client.chat.Chat(request)
        image = asked[-1].messages[0].images[0]
        assert (image.data, image.media_type) == (PNG, "image/png")
        assert (await refused(ask.download(blob_id(PNG)))).reason == "BLOB_NOT_FOUND"
        await ask.CreateConversation(conversation_id="c")
        await client.chat.Chat(chat_pb2.ChatRequest(conversation_id="c", messages=request.messages))
        image = asked[-1].messages[0].images[0]
        assert image.blob_id == blob_id(PNG)
        assert (await ask.messages())[0].images[0].blob_id == blob_id(PNG)
        request.messages[0].images[0].data = b"no picture"
        error = await refused(client.chat.Chat(request))
        assert error.fields == [("messages[0].images[0].data", "UNSUPPORTED_IMAGE_FORMAT")]
    await store.close()


async def test_pictures_that_a_client_could_not_take_keep_their_blob(tmp_path: Path) -> None:
    large = [png_of_bytes(size) for size in (3 * MIB, 2 * MIB, 1000)]
    async with stored(tmp_path) as client:
        ask = Asking(client)
        blobs = [(await ask.upload(data)).blob_id for data in large]
        images = [{"blob_id": name} for name in blobs]
        await ask.CreateConversation(conversation_id="c", messages=[{"text": "x" * 1000, "images": images}])
        (message,) = await ask.messages(image_bytes=True)
        assert [image.WhichOneof("source") for image in message.images] == ["data", "blob_id", "data"]
        assert message.ByteSize() <= 4 * MIB
