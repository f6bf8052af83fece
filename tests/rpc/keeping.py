"""A real server over a real store, and requests to it in the JSON that people type."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import conversation_pb2, conversation_pb2_grpc, message_pb2
from stepwired.events import Chat
from stepwired.limits import Limits
from stepwired.store.sqlite import SqliteStore
from tests.rpc.serving import Client, Told, echo, serve, told

Upload = conversation_pb2.UploadImageRequest


@asynccontextmanager
async def stored(
    folder: Path, limits: Limits | None = None, chat: Chat = echo, roots: Sequence[Path] = ()
) -> AsyncGenerator[Client]:
    store = await SqliteStore.open(folder, limits=limits)
    try:
        async with serve(chat, store=store, limits=limits, roots=roots) as client:
            yield client
    finally:
        await store.close()


class Asking:
    """Calls on conversations by name: `await ask.GetConversation(conversation_id="c")`."""

    def __init__(self, client: Client) -> None:
        self.stub: Any = client.conversations

    @classmethod
    def of(cls, channel: grpc.aio.Channel) -> Asking:
        made = cls.__new__(cls)
        made.stub = conversation_pb2_grpc.ConversationServiceStub(channel)
        return made

    def __getattr__(self, name: str) -> Any:
        method = conversation_pb2.DESCRIPTOR.services_by_name["ConversationService"].methods_by_name[name]
        kind = getattr(conversation_pb2, method.input_type.name)

        def call(**fields: Any) -> Any:
            request = json_format.ParseDict(fields, kind())
            return getattr(self.stub, name)(request)

        return call

    async def messages(self, **fields: Any) -> list[message_pb2.Message]:
        pages = self.StreamMessages(**{"conversation_id": "c", **fields})
        return [message async for page in pages for message in page.messages]

    async def ids(self, **fields: Any) -> str:
        return " ".join([message.id for message in await self.messages(**fields)])

    async def upload(self, data: bytes, name: str = "", chunk_bytes: int = 256 * 1024) -> message_pb2.Image:
        pieces = [Upload(chunk=data[at : at + chunk_bytes]) for at in range(0, len(data), chunk_bytes)]
        reply: conversation_pb2.UploadImageResponse
        reply = await self.stub.UploadImage(iter([Upload(name=name), *pieces]))
        return reply.image

    async def download(self, blob_id: str) -> tuple[message_pb2.Image, bytes]:
        pieces = [piece async for piece in self.DownloadImage(blob_id=blob_id)]
        assert all(len(piece.chunk) <= 64 * 1024 for piece in pieces)
        return pieces[0].image, b"".join(piece.chunk for piece in pieces)

    async def export(self, **fields: Any) -> bytes:
        pieces = [piece.chunk async for piece in self.ExportConversation(**{"conversation_id": "c", **fields})]
        assert all(len(piece) <= 64 * 1024 for piece in pieces)
        return b"".join(pieces)

    async def import_(self, data: bytes, **first: Any) -> conversation_pb2.Conversation:
        kind = conversation_pb2.ImportConversationRequest
        pieces = [kind(chunk=data[at : at + 200_000]) for at in range(0, len(data), 200_000)]
        reply: conversation_pb2.ImportConversationResponse
        reply = await self.stub.ImportConversation(iter([kind(**first), *pieces]))
        return reply.conversation


async def refused(call: Awaitable[Any]) -> Told:
    """Wait for a call to fail; what its error says."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return told(caught.value)
