"""The calls of ConversationService that move files: pictures, and whole conversations."""

from __future__ import annotations

import re
import uuid
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from stepwire.v1 import conversation_pb2
from stepwired.conversation import Conversation, MessageView
from stepwired.errors import Conflict, InvalidRequest, Reason, Violation
from stepwired.events import Image
from stepwired.images import too_large
from stepwired.limits import KIB
from stepwired.rpc import aside
from stepwired.rpc.convert import file_calls as convert
from stepwired.rpc.convert.conversations import conversation_proto
from stepwired.rpc.convert.file_values import plain_url
from stepwired.rpc.convert.files import FileWriter, ReadFile, read_file
from stepwired.rpc.kept import Context, Kept
from stepwired.store.codec.messages import image_proto

_CHUNK_BYTES = 64 * KIB

P = TypeVar("P")


class FileCalls(Kept):
    """Calls that send or take files."""

    async def UploadImage(
        self, requests: AsyncIterator[conversation_pb2.UploadImageRequest], _: Context
    ) -> conversation_pb2.UploadImageResponse:
        first = await _first(requests, conversation_pb2.UploadImageRequest())
        name = convert.picture_name(first)
        limits = self._limits
        with self._uploads.holding(limits.image_bytes, too_large("chunk", limits)) as upload:
            await upload.add_all(first, _checked(requests))
            image = await self._pictures.keep(bytes(upload.data), "chunk", name)
        return conversation_pb2.UploadImageResponse(image=image_proto(image))

    async def DownloadImage(
        self, request: conversation_pb2.DownloadImageRequest, _: Context
    ) -> AsyncGenerator[conversation_pb2.DownloadImageResponse, None]:
        blob_id = convert.blob_named(request)
        image = image_proto(await self._store.blob(blob_id))
        response = conversation_pb2.DownloadImageResponse(image=image)
        async with aclosing(self._pictures.chunks(blob_id)) as chunks:
            async for chunk in chunks:
                response.chunk = chunk
                yield response
                response = conversation_pb2.DownloadImageResponse()

    async def ExportConversation(
        self, request: conversation_pb2.ExportConversationRequest, _: Context
    ) -> AsyncGenerator[conversation_pb2.ExportConversationResponse, None]:
        asked = convert.export(request)
        # In base64, a picture would not fit into memory with many others: written here is only where it goes.
        mark = uuid.uuid4().hex
        places = re.compile(rf"<{mark} (sha256:[0-9a-f]{{64}})>".encode())

        def data(image: Image) -> str:
            return f"<{mark} {image.blob_id}>"

        def url(image: Image) -> str:
            return f"data:{image.media_type};base64,{data(image)}" if image.blob_id else plain_url(image)

        writer = FileWriter(asked.kind, url, data) if request.image_bytes else FileWriter(asked.kind, plain_url)
        buffer = bytearray()
        async with aclosing(self._written(request.conversation_id, asked.view, writer)) as written:
            async for text in written:
                parts = places.split(text)
                for index, part in enumerate(parts):
                    if index % 2 == 0:
                        buffer += part
                        continue
                    async with aclosing(self._base64(part.decode())) as pieces:
                        async for piece in pieces:
                            buffer += piece
                            while len(buffer) >= _CHUNK_BYTES:
                                yield _cut(buffer)
                while len(buffer) >= _CHUNK_BYTES:
                    yield _cut(buffer)
        yield _cut(buffer)

    async def ImportConversation(
        self, requests: AsyncIterator[conversation_pb2.ImportConversationRequest], _: Context
    ) -> conversation_pb2.ImportConversationResponse:
        first = await _first(requests, conversation_pb2.ImportConversationRequest())
        asked = convert.import_(first)
        limit_bytes = self._limits.import_bytes
        text = f"the file has more than {limit_bytes} bytes, which is the limit"
        too_long = InvalidRequest.of([Violation("chunk", text)])
        with self._uploads.holding(limit_bytes, too_long) as upload:
            await upload.add_all(first, _checked(requests))
            read = await upload.read(read_file, asked.kind, self._limits)
        made = await self._import(read, asked)
        return conversation_pb2.ImportConversationResponse(conversation=conversation_proto(made))

    async def _import(self, read: ReadFile, asked: convert.Import) -> Conversation:
        messages = await self._pictures.taken(read.messages)
        given = read.conversation
        wanted = replace(given, id=asked.conversation_id or given.id, title=asked.title or given.title)
        try:
            return await self._store.import_(wanted, messages, as_line=read.as_line)
        except Conflict as failure:
            if asked.conversation_id or failure.reason is not Reason.CONVERSATION_EXISTS:
                raise
        return await self._store.import_(replace(wanted, id=""), messages, as_line=read.as_line)

    async def _written(
        self, conversation_id: str, view: MessageView, writer: FileWriter
    ) -> AsyncGenerator[bytes, None]:
        """Write the file. It shows one moment: no message that came after the conversation was read."""
        conversation = await self._store.get(conversation_id)
        if view is MessageView.HEAD_PATH and conversation.head_id:
            messages = self._store.messages(conversation_id, MessageView.PATH_TO, conversation.head_id)
        else:
            messages = self._store.messages(conversation_id, view)
        left = conversation.message_count
        if view is MessageView.LEFTMOST:  # which the head need not be part of: without one, it is the last message
            conversation = replace(conversation, head_id="")
        async with aclosing(messages) as pages:
            yield await aside.write(writer.begin, conversation, conversation.metadata)
            async for page in pages:
                for message in page[:left]:
                    yield await aside.write(writer.add, message, message)
                left -= len(page)
                if left <= 0:
                    break
        yield writer.end()

    async def _base64(self, blob_id: str) -> AsyncGenerator[bytes, None]:
        rest = b""
        async with aclosing(self._pictures.chunks(blob_id)) as chunks:
            async for chunk in chunks:
                whole = rest + chunk
                end = len(whole) - len(whole) % 3
                rest = whole[end:]
                yield b64encode(whole[:end])
        yield b64encode(rest)


async def _first(requests: AsyncIterator[P], none: P) -> P:
    """Read the first message of a request stream, or what stands for it in an empty one."""
    return await anext(requests, none)


async def _checked(requests: AsyncIterator[P]) -> AsyncGenerator[P, None]:
    """Pass on all further messages, in which only bytes have a meaning."""
    async for request in requests:
        convert.only_chunk(request)
        yield request


def _cut(buffer: bytearray) -> conversation_pb2.ExportConversationResponse:
    """Take the next piece from the buffer."""
    response = conversation_pb2.ExportConversationResponse(chunk=bytes(memoryview(buffer)[:_CHUNK_BYTES]))
    del buffer[:_CHUNK_BYTES]
    return response
