"""The calls of a client that move files: pictures, and conversations as files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Literal, TypeAlias

from stepwire import _files, _pictures, _requests
from stepwire._connection import Connection
from stepwire._requests import VIEWS, View
from stepwire.v1 import conversation_pb2, message_pb2

#: How a conversation is written as a file.
Format: TypeAlias = Literal["proto_json", "guide_json", "openai_messages"]

_FORMATS: Mapping[Format | None, conversation_pb2.ConversationFormat] = {
    None: conversation_pb2.CONVERSATION_FORMAT_UNSPECIFIED,
    "proto_json": conversation_pb2.CONVERSATION_FORMAT_PROTO_JSON,
    "guide_json": conversation_pb2.CONVERSATION_FORMAT_GUIDE_JSON,
    "openai_messages": conversation_pb2.CONVERSATION_FORMAT_OPENAI_MESSAGES,
}


class TransferCalls:
    """Uploads and downloads."""

    _connection: Connection

    async def upload_image(
        self, source: _files.Source, *, name: str = "", timeout_s: float | None = None
    ) -> message_pb2.Image:
        """Store a picture at the server, so that messages can refer to it.

            picture = await client.upload_image("cat.png")
            await client.append("c1", [{"text": "What is this?", "images": [picture]}])

        It is read here, in pieces; the server never sees the path. Only needed to use a picture several times:
        calls that take messages upload what is too large for them.

        Args:
            source: Path of a file, bytes, or a file opened for reading bytes. At most 20 MiB: PNG, JPEG, WebP or GIF.
            name: What people call it; the file's name if empty.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `long_timeout_s`.

        Returns:
            The picture as the server knows it: `blob_id`, `media_type`, `width`, `height`, `size_bytes`.

        Raises:
            OSError: The file cannot be read.
            errors.InvalidRequest: It is no picture of these kinds, is too large, or is damaged.
        """
        return await _pictures.upload(self._connection, source, name, timeout_s)

    async def download_image(self, blob_id: str, *, timeout_s: float | None = None) -> message_pb2.Image:
        """Return a stored picture whole, its bytes as `data`: at most 20 MiB.

            picture = await client.upload_image("cat.png")
            print(len((await client.download_image(picture.blob_id)).data))

        Args:
            blob_id: What `upload_image` returned, or a message's picture has.
            timeout_s: Seconds for the whole of it; None for no limit but the client's `idle_s`.

        Raises:
            errors.NotFound: No such picture is stored.
        """
        with _requests.checked():
            request = conversation_pb2.DownloadImageRequest(blob_id=blob_id)
        picture = message_pb2.Image()
        data = bytearray()
        async with aclosing(
            self._connection.stream(self._connection.conversations.DownloadImage, request, timeout_s)
        ) as responses:
            async for response in responses:
                if response.HasField("image"):
                    picture.CopyFrom(response.image)
                data += response.chunk
        picture.data = bytes(data)
        return picture

    async def export_conversation(
        self,
        conversation_id: str,
        target: _files.Target,
        *,
        format: Format = "proto_json",  # noqa: A002  the wire's word, and nothing here formats
        view: View | None = None,
        image_bytes: bool = False,
        timeout_s: float | None = None,
    ) -> int:
        """Write a conversation to a file, as it is now, piece by piece. Returns how many bytes.

            await client.export_conversation("c1", "c1.json")

        Args:
            conversation_id: The conversation.
            target: Path of a file, which is there only when all is written, or a file opened for writing bytes.
            format: `proto_json` loses nothing; `guide_json` is the guide's message objects; `openai_messages` is what
                OpenAI's chat completions take.
            view: Which messages; None for all in `proto_json` and the path to the head in the others, which know no
                branches.
            image_bytes: Put the bytes of stored pictures into the file; by default only their `blob_id`.
            timeout_s: Seconds for the whole of it; None for no limit but the client's `idle_s`.

        Raises:
            OSError: The file cannot be written.
            errors.NotFound: No conversation has this id.
        """
        with _requests.checked():
            request = conversation_pb2.ExportConversationRequest(
                conversation_id=conversation_id,
                format=_requests.choice("format", format, _FORMATS),
                view=conversation_pb2.MESSAGE_VIEW_UNSPECIFIED
                if view is None
                else _requests.choice("view", view, VIEWS),
                image_bytes=image_bytes,
            )
        written_bytes = 0
        responses = self._connection.stream(self._connection.conversations.ExportConversation, request, timeout_s)
        async with aclosing(responses), _files.written(target) as write:
            async for response in responses:
                await write(response.chunk)
                written_bytes += len(response.chunk)
        return written_bytes

    async def import_conversation(
        self,
        source: _files.Source,
        *,
        format: Format | None = None,  # noqa: A002  see above
        conversation_id: str = "",
        title: str = "",
        timeout_s: float | None = None,
    ) -> conversation_pb2.Conversation:
        """Make a conversation of a file, all or nothing.

            await client.export_conversation("c1", "c1.json")
            print((await client.import_conversation("c1.json", conversation_id="c2")).message_count)

        Not repeated by itself when the answer is lost.

        Args:
            source: Path of a file, bytes, or a file opened for reading bytes. At most 64 MiB.
            format: Format of the file; None to find out by looking.
            conversation_id: Id of the new conversation; empty for the file's, if it has one and none has it yet, or
                else a new UUID.
            title: Its title; empty for the file's.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `long_timeout_s`.

        Raises:
            OSError: The file cannot be read.
            errors.InvalidRequest: INVALID_CONVERSATION: the file is not of its format; the message says where.
            errors.Conflict: Another conversation has this id.
        """
        with _requests.checked():
            first = conversation_pb2.ImportConversationRequest(
                format=_requests.choice("format", format, _FORMATS), conversation_id=conversation_id, title=title
            )

        async def requests() -> AsyncGenerator[conversation_pb2.ImportConversationRequest, None]:
            yield first
            async with aclosing(_files.chunks(source)) as pieces:
                async for piece in pieces:
                    yield conversation_pb2.ImportConversationRequest(chunk=piece)

        response = await self._connection.upload(
            self._connection.conversations.ImportConversation, requests(), timeout_s
        )
        return response.conversation
