"""Pictures through the whole server: in by every way, kept once, and out to a model that can see."""

from __future__ import annotations

import base64
import re
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc
import httpx
import pytest

from stepwire.v1 import chat_pb2, chat_pb2_grpc, conversation_pb2, conversation_pb2_grpc, message_pb2
from stepwired.limits import MIB
from tests.e2e.conftest import Scripted, settings
from tests.fakeprov import Provider, behaviours
from tests.imaging.corpus import CORPUS, drawn, noise, png_of_bytes
from tests.processes import gone
from tests.program import HANG_S, running
from tests.rpc.serving import told

SEEING = """
[images]
fetch = "public"
roots = ["{root}"]
[models.seer]
endpoint = "fake"
images = true
"""
ADDRESS = re.compile(rb"0x[0-9a-f]{6,}", re.IGNORECASE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
async def seeing(tmp_path: Path, root: Path) -> AsyncGenerator[Scripted]:
    images = SEEING.format(root=root)
    async with Provider(behaviours.reply()) as provider, running(tmp_path, settings(provider) + images) as program:
        yield Scripted(program, provider)


def message(**image: object) -> message_pb2.Message:
    return message_pb2.Message(text="Look.", images=[message_pb2.Image(**image)])  # type: ignore[arg-type]


async def pieces(data: bytes) -> AsyncGenerator[conversation_pb2.UploadImageRequest]:
    size = 256 * 1024
    for start in range(0, len(data), size):
        yield conversation_pb2.UploadImageRequest(chunk=data[start : start + size])


async def test_a_model_is_sent_the_pictures_of_its_conversation(seeing: Scripted, root: Path) -> None:
    by_path, by_upload, in_message = drawn("PNG"), noise("JPEG", (2000, 1500)), drawn("GIF", mode="P")
    (root / "a.png").write_bytes(by_path)
    async with seeing.program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        uploaded = await conversations.UploadImage(pieces(by_upload), timeout=HANG_S)
        created = await conversations.CreateConversation(
            conversation_pb2.CreateConversationRequest(messages=[message(server_path=str(root / "a.png"))]),
            timeout=HANG_S,
        )
        conversation_id = created.conversation.id
        await conversations.AppendMessages(
            conversation_pb2.AppendMessagesRequest(
                conversation_id=conversation_id, messages=[message(blob_id=uploaded.image.blob_id)]
            ),
            timeout=HANG_S,
        )
        await chat_pb2_grpc.ChatServiceStub(channel).Chat(
            chat_pb2.ChatRequest(model="seer", conversation_id=conversation_id, messages=[message(data=in_message)]),
            timeout=HANG_S,
        )
    sent = [said["content"] for said in seeing.provider.requests[0].json()["messages"]]
    urls = [parts[1]["image_url"]["url"] for parts in sent]
    assert [url.partition(",")[0] for url in urls] == [
        "data:image/png;base64",
        "data:image/jpeg;base64",
        "data:image/gif;base64",
    ]
    assert [base64.b64decode(url.partition(",")[2]) for url in urls] == [by_path, by_upload, in_message]


async def test_a_stored_picture_that_a_request_over_http_names_is_sent_with_its_type(seeing: Scripted) -> None:
    picture = drawn("JPEG")
    async with seeing.program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        uploaded = await conversations.UploadImage(pieces(picture), timeout=HANG_S)
    parts = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": uploaded.image.blob_id, "detail": "low"}},
    ]
    body = {"model": "seer", "messages": [{"role": "user", "content": parts}]}
    async with httpx.AsyncClient(timeout=HANG_S) as http:
        reply = await http.post(f"{seeing.program.http}/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    sent = seeing.provider.requests[0].json()["messages"][0]["content"][1]["image_url"]
    assert sent == {"url": "data:image/jpeg;base64," + base64.b64encode(picture).decode(), "detail": "low"}


async def test_pictures_that_a_request_names_are_counted_before_any_is_read(seeing: Scripted) -> None:
    picture = png_of_bytes(13 * MIB)
    async with seeing.program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        uploaded = await conversations.UploadImage(pieces(picture), timeout=HANG_S)
        named = message_pb2.Image(blob_id=uploaded.image.blob_id)

        async def ask(images_count: int) -> None:
            said = message_pb2.Message(text="Look.", images=[named] * images_count)
            request = chat_pb2.StreamChatRequest(model="seer", messages=[said])
            async for _ in chat_pb2_grpc.ChatServiceStub(channel).StreamChat(request, timeout=HANG_S):
                pass

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(5)
        assert told(caught.value).reason == "IMAGE_TOO_LARGE"
        assert seeing.provider.requests == []
        await ask(1)
    url = seeing.provider.requests[0].json()["messages"][0]["content"][1]["image_url"]["url"]
    assert url == "data:image/png;base64," + base64.b64encode(picture).decode()


async def test_a_model_without_eyes_is_refused_before_anything_is_stored(seeing: Scripted) -> None:
    async with seeing.program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        created = await conversations.CreateConversation(
            conversation_pb2.CreateConversationRequest(title="t"), timeout=HANG_S
        )
        asked = chat_pb2.ChatRequest(
            model="fake", conversation_id=created.conversation.id, messages=[message(data=drawn("PNG"))]
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await chat_pb2_grpc.ChatServiceStub(channel).Chat(asked, timeout=HANG_S)
        assert told(caught.value).reason == "MODEL_FEATURE_UNSUPPORTED"
        after = await conversations.GetConversation(
            conversation_pb2.GetConversationRequest(conversation_id=created.conversation.id), timeout=HANG_S
        )
    assert after.conversation.revision == created.conversation.revision
    assert seeing.provider.requests == []


@pytest.mark.parametrize("name", ["PNG of 14000 x 14000", "PNG cut off", "TIFF", "iCCP bomb"])
async def test_no_refusal_and_no_log_names_an_address_of_memory(seeing: Scripted, name: str) -> None:
    async with seeing.program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await conversations.UploadImage(pieces(CORPUS[name].make()), timeout=HANG_S)
    trailers = b" ".join(
        value if isinstance(value, bytes) else value.encode() for _, value in caught.value.trailing_metadata() or ()
    )
    assert told(caught.value).reason == CORPUS[name].outcome
    assert not ADDRESS.search((caught.value.details() or "").encode() + trailers + seeing.program.log.read_bytes())


async def test_nothing_near_the_server_is_fetched(seeing: Scripted) -> None:
    url = f"http://127.0.0.1:{seeing.provider.port}/a.png"
    async with seeing.program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await conversations.CreateConversation(
                conversation_pb2.CreateConversationRequest(messages=[message(uri=url, fetch=True)]), timeout=HANG_S
            )
    assert told(caught.value).reason == "IMAGE_URL_UNAVAILABLE"
    assert seeing.provider.connections == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
async def test_a_killed_server_leaves_no_process_that_decodes(seeing: Scripted) -> None:
    async with seeing.program.channel() as channel:
        conversations = conversation_pb2_grpc.ConversationServiceStub(channel)
        assert seeing.program.children("stepwired.imaging") == []
        await conversations.UploadImage(pieces(drawn("PNG")), timeout=HANG_S)
        children = seeing.program.children("stepwired.imaging")
        assert len(children) == 1
        await seeing.program.end(signal.SIGKILL)
    assert gone(children)
