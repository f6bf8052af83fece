"""What is asked about single messages and choices among them, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepwire.v1 import conversation_pb2, message_pb2
from stepwired.conversation import MessageView, RenderFormat
from stepwired.errors import Reason
from stepwired.events import Json, MessageStatus
from stepwired.limits import KIB, Limits
from stepwired.rpc import paging
from stepwired.rpc.convert.conversations import is_merge
from stepwired.rpc.convert.values import metadata_of
from stepwired.store.codec.values import timestamp
from stepwired.store.nouns import Hit
from stepwired.violations import Faults

_QUERY_BYTES = KIB
_HITS, _DEFAULT_HITS = 100, 20

VIEWS = {
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
_STATUS = {
    message_pb2.MESSAGE_STATUS_UNSPECIFIED: None,
    message_pb2.MESSAGE_STATUS_COMPLETE: MessageStatus.COMPLETE,
    message_pb2.MESSAGE_STATUS_INTERRUPTED: MessageStatus.INTERRUPTED,
}


def view(given: conversation_pb2.StreamMessagesRequest) -> MessageView:
    """Read which messages to stream.

    Raises:
        InvalidRequest: With every fault that shows without the view's own rule, `check_view` of the store.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    chosen = faults.choice("view", given.view, VIEWS, "view")
    faults.id("message_id", given.message_id)
    faults.stop()
    return chosen


def render_format(given: conversation_pb2.RenderConversationRequest) -> RenderFormat:
    """Read how to write messages.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    faults.id("message_id", given.message_id)
    chosen = faults.choice("format", given.format, _FORMATS, "format")
    faults.stop()
    return chosen


def message_named(given: conversation_pb2.GetMessageRequest) -> None:
    """Check which message to return.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    faults.id("message_id", given.message_id, required=True)
    faults.stop()


@dataclass(frozen=True, slots=True)
class MessageUpdate:
    """What to change; None stays as it is."""

    metadata: Mapping[str, Json] | None
    merge: bool
    status: MessageStatus | None


def message_update(given: conversation_pb2.UpdateMessageRequest, limits: Limits) -> MessageUpdate:
    """Read what to change.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    faults.id("message_id", given.message_id, required=True)
    metadata = metadata_of("metadata", given.metadata, limits, faults) if given.HasField("metadata") else None
    merge = is_merge(given.metadata_update, faults)
    status = faults.choice("status", given.status, _STATUS, "status")
    if metadata is None and not given.status:
        faults.add("metadata", "is needed, or status: there is nothing to change", Reason.FIELD_REQUIRED)
    faults.stop()
    return MessageUpdate(metadata, merge, status)


@dataclass(frozen=True, slots=True)
class MessageSearch:
    """What to find."""

    call: str
    """What tokens of further pages are made for."""

    page_size: int
    after: str


def message_search(given: conversation_pb2.SearchMessagesRequest) -> MessageSearch:
    """Read what to find.

    Raises:
        InvalidRequest: With every fault that shows without reading the query.
    """
    faults = Faults()
    if not given.query.strip():
        faults.add("query", "is needed: it has no words", Reason.INVALID_FILTER)
    faults.text("query", given.query, _QUERY_BYTES, Reason.INVALID_FILTER)
    faults.id("conversation_id", given.conversation_id)
    call = paging.asked("SearchMessages", given)
    size = paging.size_of(given.page_size, faults, default=_DEFAULT_HITS, most=_HITS)
    after = paging.position(call, given.page_token, faults)
    faults.stop()
    return MessageSearch(call, size, after)


def hit_proto(hit: Hit) -> conversation_pb2.MessageHit:
    """Write one message that was found."""
    return conversation_pb2.MessageHit(
        conversation_id=hit.conversation_id,
        conversation_title=hit.conversation_title,
        message_id=hit.message_id,
        role=hit.role.value,
        create_time=timestamp(hit.create_time_ns),
        snippet=hit.snippet,
        highlights=[conversation_pb2.Highlight(start=start, end=end) for start, end in hit.highlights],
    )
