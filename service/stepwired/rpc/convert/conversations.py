"""Conversations, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf import struct_pb2

from stepwire.v1 import conversation_pb2
from stepwired.conversation import Conversation, MessageView, RenderFormat
from stepwired.errors import Reason
from stepwired.events import Json, Message
from stepwired.limits import Limits
from stepwired.rpc.convert.messages import messages
from stepwired.rpc.convert.values import metadata_of, struct_of_json, timestamp
from stepwired.rpc.violations import Faults

_TITLE_BYTES = 1000

_VIEWS = {
    conversation_pb2.MESSAGE_VIEW_UNSPECIFIED: MessageView.HEAD_PATH,
    conversation_pb2.MESSAGE_VIEW_HEAD_PATH: MessageView.HEAD_PATH,
    conversation_pb2.MESSAGE_VIEW_PATH_TO: MessageView.PATH_TO,
    conversation_pb2.MESSAGE_VIEW_LEFTMOST: MessageView.LEFTMOST,
    conversation_pb2.MESSAGE_VIEW_ALL: MessageView.ALL,
}
_FORMATS = {
    conversation_pb2.RENDER_FORMAT_UNSPECIFIED: RenderFormat.BRACKETS,
    conversation_pb2.RENDER_FORMAT_BRACKETS: RenderFormat.BRACKETS,
    conversation_pb2.RENDER_FORMAT_GEPPETTO: RenderFormat.GEPPETTO,
}


@dataclass(frozen=True, slots=True)
class Creation:
    """What to create."""

    conversation_id: str
    title: str
    metadata: Mapping[str, Json]
    messages: tuple[Message, ...]
    allow_orphan: bool


def creation(given: conversation_pb2.CreateConversationRequest, limits: Limits) -> Creation:
    """Read what to create.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id)
    faults.text("title", given.title, _TITLE_BYTES)
    metadata = _metadata("metadata", given.metadata, limits, faults) if given.HasField("metadata") else {}
    first = messages("messages", given.messages, limits, faults)
    faults.stop()
    return Creation(given.conversation_id, given.title, metadata, first, given.allow_orphan)


def appended(given: conversation_pb2.AppendMessagesRequest, limits: Limits) -> tuple[Message, ...]:
    """Read the messages to append.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    if not given.messages:
        faults.add("messages", "is needed: it is empty", Reason.FIELD_REQUIRED)
    read = messages("messages", given.messages, limits, faults)
    faults.stop()
    return read


def conversation_id(given: str) -> str:
    """Read the id of a conversation that has to exist.

    Raises:
        InvalidRequest: It cannot be one.
    """
    faults = Faults()
    faults.id("conversation_id", given, required=True)
    faults.stop()
    return given


def view(given: conversation_pb2.StreamMessagesRequest) -> MessageView:
    """Read which messages to stream.

    Raises:
        InvalidRequest: With every fault that shows without the view's own rule, `conversation.check_view`.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    chosen = _VIEWS.get(given.view)
    if chosen is None:
        faults.add("view", f"{given.view} is no view")
    faults.id("message_id", given.message_id)
    faults.stop()
    assert chosen is not None
    return chosen


def render_format(given: conversation_pb2.RenderConversationRequest) -> RenderFormat:
    """Read how to write messages.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    faults.id("message_id", given.message_id)
    chosen = _FORMATS.get(given.format)
    if chosen is None:
        faults.add("format", f"{given.format} is no format")
    faults.stop()
    assert chosen is not None
    return chosen


def conversation_proto(conversation: Conversation) -> conversation_pb2.Conversation:
    """Write a conversation, without its messages."""
    return conversation_pb2.Conversation(
        id=conversation.id,
        title=conversation.title,
        head_id=conversation.head_id,
        revision=conversation.revision,
        metadata=struct_of_json(conversation.metadata) if conversation.metadata else None,
        create_time=timestamp(conversation.create_time_ns),
        update_time=timestamp(conversation.update_time_ns),
        message_count=conversation.message_count,
    )


def _metadata(path: str, given: struct_pb2.Struct, limits: Limits, faults: Faults) -> dict[str, Json]:
    return metadata_of(path, given, limits, faults)
