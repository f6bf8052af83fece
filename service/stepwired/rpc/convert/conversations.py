"""Conversations, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepwire.v1 import conversation_pb2
from stepwired.conversation import Conversation
from stepwired.errors import Reason
from stepwired.events import Json, Message
from stepwired.limits import Limits
from stepwired.rpc import paging
from stepwired.rpc.convert.messages import messages
from stepwired.rpc.convert.values import metadata_of, nanoseconds, struct_of_json
from stepwired.store.codec.values import timestamp
from stepwired.store.nouns import ListOrder
from stepwired.violations import Faults

TITLE_BYTES = 1000

_LABELS = 16
_UPDATED = ("title", "metadata", "head_id")

_ORDERS = {
    conversation_pb2.CONVERSATION_ORDER_UNSPECIFIED: ListOrder.CREATE_TIME,
    conversation_pb2.CONVERSATION_ORDER_CREATE_TIME: ListOrder.CREATE_TIME,
    conversation_pb2.CONVERSATION_ORDER_UPDATE_TIME: ListOrder.UPDATE_TIME,
}
_IS_MERGE = {
    conversation_pb2.METADATA_UPDATE_UNSPECIFIED: False,
    conversation_pb2.METADATA_UPDATE_REPLACE: False,
    conversation_pb2.METADATA_UPDATE_MERGE: True,
}


_HasRevision = (
    conversation_pb2.AppendMessagesRequest
    | conversation_pb2.UpdateConversationRequest
    | conversation_pb2.DeleteConversationRequest
    | conversation_pb2.UpdateMessageRequest
)


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
    faults.text("title", given.title, TITLE_BYTES)
    metadata = metadata_of("metadata", given.metadata, limits, faults) if given.HasField("metadata") else {}
    first = messages("messages", given.messages, limits, faults)
    faults.request_id("request_id", given.request_id)
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
    faults.request_id("request_id", given.request_id)
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


def is_merge(given: int, faults: Faults) -> bool:
    """Read what to do with the metadata that is there."""
    return faults.choice("metadata_update", given, _IS_MERGE, "way to update metadata")


def if_revision(given: _HasRevision) -> int | None:
    """Read which revision the caller knows, if that matters; any other than the conversation's own is refused."""
    return given.if_revision if given.HasField("if_revision") else None


@dataclass(frozen=True, slots=True)
class Update:
    """What to change; None stays as it is."""

    title: str | None
    metadata: Mapping[str, Json] | None
    head_id: str | None
    merge: bool


def update(given: conversation_pb2.UpdateConversationRequest, limits: Limits) -> Update:
    """Read what to change.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    new = given.conversation
    faults.id("conversation.id", new.id, required=True)
    title = head_id = None
    metadata = None
    masked = given.update_mask.paths
    for index, path in enumerate(masked):
        if path not in _UPDATED:
            text = f"`{path[:64]}` cannot be updated; {', '.join(_UPDATED)} can"
            faults.add(f"update_mask.paths[{index}]", text)
    if "title" in masked or (not masked and new.title):
        faults.text("conversation.title", new.title, TITLE_BYTES)
        title = new.title
    if "metadata" in masked or (not masked and new.HasField("metadata")):
        metadata = metadata_of("conversation.metadata", new.metadata, limits, faults)
    if "head_id" in masked or (not masked and new.head_id):
        faults.id("conversation.head_id", new.head_id, required=True)
        head_id = new.head_id
    if not masked and title is None and metadata is None and head_id is None:
        faults.add("update_mask", "is needed: nothing is set that can be updated", Reason.FIELD_REQUIRED)
    merge = is_merge(given.metadata_update, faults)
    faults.stop()
    return Update(title, metadata, head_id, merge)


def fork(given: conversation_pb2.ForkConversationRequest) -> str | None:
    """Read what to copy; the new title, or None for the old one.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    faults.id("message_id", given.message_id)
    faults.id("new_conversation_id", given.new_conversation_id)
    faults.text("title", given.title, TITLE_BYTES)
    faults.request_id("request_id", given.request_id)
    faults.stop()
    return given.title or None


@dataclass(frozen=True, slots=True)
class Listing:
    """Which conversations to list."""

    call: str
    """What tokens of further pages are made for."""

    page_size: int
    after: str
    labels: Mapping[str, str]
    create_from_ns: int | None
    create_before_ns: int | None
    update_from_ns: int | None
    order: ListOrder


def listing(given: conversation_pb2.ListConversationsRequest, limits: Limits) -> Listing:
    """Read which conversations to list.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    call = paging.asked("ListConversations", given)
    size = paging.size_of(given.page_size, faults)
    after = paging.position(call, given.page_token, faults)
    if faults.count("labels", len(given.labels), _LABELS):
        for key in sorted(given.labels):  # protobuf keeps maps in no order
            faults.text("labels", key, limits.metadata_bytes)
            faults.text("labels", given.labels[key], limits.metadata_bytes)
    create_from, create_before, update_from = (
        nanoseconds(name, getattr(given, name), faults) if given.HasField(name) else None
        for name in ("create_time_from", "create_time_before", "update_time_from")
    )
    order = faults.choice("order", given.order, _ORDERS, "order")
    faults.stop()
    return Listing(call, size, after, dict(given.labels), create_from, create_before, update_from, order)
