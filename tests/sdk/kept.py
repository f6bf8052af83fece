"""Conversations of the scripted server: kept in memory, with a feed of their changes; few of the real rules."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
from google.protobuf import json_format

from stepwire.v1 import conversation_pb2 as wire
from stepwire.v1 import message_pb2
from tests.sdk.refusing import refuse

PAGE = 2
"""Of every list, so that whoever lists has to follow."""

CHUNK_BYTES = 64 * 1024


class Kept:
    """One conversation, all it ever was, and who waits for more."""

    def __init__(self, name: str, title: str) -> None:
        self.about = wire.Conversation(id=name, title=title, revision=1)
        self.messages: dict[str, message_pb2.Message] = {}
        self.changes = [wire.WatchConversationResponse(revision=1, created=self.copy())]
        self.changed = asyncio.Event()

    def copy(self) -> wire.Conversation:
        made = wire.Conversation()
        made.CopyFrom(self.about)
        return made

    def note(self, **change: Any) -> None:
        self.about.revision += 1
        if "conversation_updated" in change:
            change["conversation_updated"] = self.copy()
        self.changes.append(wire.WatchConversationResponse(revision=self.about.revision, **change))
        self.changed.set()
        self.changed = asyncio.Event()

    def append(self, more: Any) -> list[str]:
        ids = []
        for message in more:
            kept = message_pb2.Message()
            kept.CopyFrom(message)
            kept.id = message.id or f"m{len(self.messages) + 1}"
            kept.parent_id = message.parent_id or self.about.head_id
            kept.role = message.role or "user"
            self.messages[kept.id] = kept
            self.about.head_id = kept.id
            self.about.message_count += 1
            self.note(message_appended=wire.MessageAppended(message=kept, moved_head=True))
            ids.append(kept.id)
        return ids

    def path(self, message_id: str) -> list[message_pb2.Message]:
        found: list[message_pb2.Message] = []
        while message_id:
            found.insert(0, self.messages[message_id])
            message_id = self.messages[message_id].parent_id
        return found


class Conversations:
    """What each method of ConversationService does."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.blobs: dict[str, tuple[message_pb2.Image, bytes]] = {}

    async def find(self, name: str, context: Any) -> Kept:
        if name not in self.kept:
            await refuse(
                context,
                grpc.StatusCode.NOT_FOUND,
                f"there is no conversation `{name}`",
                reason="CONVERSATION_NOT_FOUND",
            )
        return self.kept[name]

    async def CreateConversation(self, request: wire.CreateConversationRequest, _: Any) -> Any:
        made = Kept(request.conversation_id or f"c{len(self.kept) + 1}", request.title)
        self.kept[made.about.id] = made
        made.about.metadata.CopyFrom(request.metadata)
        return wire.CreateConversationResponse(message_ids=made.append(request.messages), conversation=made.about)

    async def GetConversation(self, request: wire.GetConversationRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        return wire.GetConversationResponse(conversation=kept.about)

    async def ListConversations(self, request: wire.ListConversationsRequest, _: Any) -> Any:
        first = int(request.page_token or 0)
        found = [
            kept.about
            for kept in reversed(self.kept.values())
            if all(kept.about.metadata.fields[key].string_value == text for key, text in request.labels.items())
        ]
        token = str(first + PAGE) if len(found) > first + PAGE else ""
        return wire.ListConversationsResponse(conversations=found[first : first + PAGE], next_page_token=token)

    async def UpdateConversation(self, request: wire.UpdateConversationRequest, context: Any) -> Any:
        kept = await self.find(request.conversation.id, context)
        if request.HasField("if_revision") and request.if_revision != kept.about.revision:
            await refuse(context, grpc.StatusCode.ABORTED, "it has changed", reason="REVISION_MISMATCH")
        for name in request.update_mask.paths:
            if name == "metadata":
                kept.about.metadata.CopyFrom(request.conversation.metadata)
            else:
                setattr(kept.about, name, getattr(request.conversation, name))
        kept.note(conversation_updated=None)
        return wire.UpdateConversationResponse(conversation=kept.about)

    async def DeleteConversation(self, request: wire.DeleteConversationRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        del self.kept[request.conversation_id]
        kept.note(deleted=wire.ConversationDeleted())
        return wire.DeleteConversationResponse()

    async def ForkConversation(self, request: wire.ForkConversationRequest, context: Any) -> Any:
        old = await self.find(request.conversation_id, context)
        made = Kept(request.new_conversation_id or f"c{len(self.kept) + 1}", request.title or old.about.title)
        self.kept[made.about.id] = made
        made.append(old.path(request.message_id or old.about.head_id))
        return wire.ForkConversationResponse(conversation=made.about)

    async def AppendMessages(self, request: wire.AppendMessagesRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        return wire.AppendMessagesResponse(message_ids=kept.append(request.messages), conversation=kept.about)

    async def StreamMessages(self, request: wire.StreamMessagesRequest, context: Any) -> AsyncGenerator[Any, None]:
        kept = await self.find(request.conversation_id, context)
        is_all = request.view == wire.MESSAGE_VIEW_ALL
        for message in kept.messages.values() if is_all else kept.path(request.message_id or kept.about.head_id):
            yield wire.StreamMessagesResponse(messages=[message])

    async def GetMessage(self, request: wire.GetMessageRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        return wire.GetMessageResponse(message=kept.messages[request.message_id])

    async def UpdateMessage(self, request: wire.UpdateMessageRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        if request.message_id not in kept.messages:
            await refuse(
                context,
                grpc.StatusCode.NOT_FOUND,
                f"there is no message `{request.message_id}`",
                reason="MESSAGE_NOT_FOUND",
            )
        message = kept.messages[request.message_id]
        if request.HasField("metadata"):
            message.metadata.CopyFrom(request.metadata)
        message.status = request.status or message.status
        kept.note(message_updated=message)
        return wire.UpdateMessageResponse(message=message, revision=kept.about.revision)

    async def RenderConversation(self, request: wire.RenderConversationRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        lines = [f"[{message.role}]: {message.text}\n" for message in kept.path(kept.about.head_id)]
        return wire.RenderConversationResponse(text="".join(lines))

    async def SearchMessages(self, request: wire.SearchMessagesRequest, _: Any) -> Any:
        first, word = int(request.page_token or 0), request.query
        found = [
            wire.MessageHit(
                conversation_id=name,
                conversation_title=kept.about.title,
                message_id=message.id,
                role=message.role,
                snippet=message.text,
                highlights=[wire.Highlight(start=message.text.index(word), end=message.text.index(word) + len(word))],
            )
            for name, kept in self.kept.items()
            for message in kept.messages.values()
            if word in message.text and request.conversation_id in {"", name}
        ]
        token = str(first + PAGE) if len(found) > first + PAGE else ""
        return wire.SearchMessagesResponse(hits=found[first : first + PAGE], next_page_token=token)

    async def UploadImage(self, requests: AsyncIterator[wire.UploadImageRequest], _: Any) -> Any:
        name, data = "", b""
        async for request in requests:
            name, data = name or request.name, data + request.chunk
        picture = message_pb2.Image(
            blob_id=f"sha256:{hashlib.sha256(data).hexdigest()}", name=name, media_type="image/png"
        )
        self.blobs[picture.blob_id] = picture, data
        return wire.UploadImageResponse(image=picture)

    async def DownloadImage(self, request: wire.DownloadImageRequest, context: Any) -> AsyncGenerator[Any, None]:
        if request.blob_id not in self.blobs:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "there is no such picture", reason="BLOB_NOT_FOUND")
        picture, data = self.blobs[request.blob_id]
        for begin in range(0, len(data), CHUNK_BYTES):
            first = {"image": picture} if begin == 0 else {}
            yield wire.DownloadImageResponse(chunk=data[begin : begin + CHUNK_BYTES], **first)

    async def ExportConversation(self, request: wire.ExportConversationRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        file = json_format.MessageToJson(wire.StreamMessagesResponse(messages=kept.messages.values())).encode()
        for begin in range(0, len(file), 10):
            yield wire.ExportConversationResponse(chunk=file[begin : begin + 10])

    async def ImportConversation(self, requests: AsyncIterator[wire.ImportConversationRequest], context: Any) -> Any:
        first, data = await anext(requests), b""
        async for request in requests:
            data += request.chunk
        read = wire.StreamMessagesResponse()
        try:
            json_format.Parse(data, read)
        except json_format.ParseError:
            await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "line 1 is no JSON", reason="INVALID_CONVERSATION")
        made = Kept(first.conversation_id or f"c{len(self.kept) + 1}", first.title)
        self.kept[made.about.id] = made
        made.append(read.messages)
        return wire.ImportConversationResponse(conversation=made.about)

    async def WatchConversation(self, request: wire.WatchConversationRequest, context: Any) -> Any:
        kept = await self.find(request.conversation_id, context)
        at = request.after_revision
        yield wire.WatchConversationResponse(revision=at, heartbeat=wire.Heartbeat())
        while True:
            changed = kept.changed
            for change in kept.changes[at:]:
                at = change.revision
                yield change
                if change.HasField("deleted"):
                    return
            await changed.wait()


def behaviours() -> dict[str, Any]:
    """Make the behaviour of each method; conversations are kept as long as the result is."""
    conversations = Conversations()
    methods = wire.DESCRIPTOR.services_by_name["ConversationService"].methods
    return {method.name: getattr(conversations, method.name) for method in methods}
