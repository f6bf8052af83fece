"""What is asked about the changes of a conversation, and what changed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from google.protobuf import duration_pb2

from stepwire.v1 import conversation_pb2
from stepwired.rpc.convert.conversations import conversation_proto
from stepwired.store.codec.messages import message_proto
from stepwired.store.codec.values import timestamp
from stepwired.store.nouns import Appended, Change, ConversationUpdated, Created, Deleted, MessageUpdated
from stepwired.violations import Faults

_LEAST_S, _MOST_S, _DEFAULT_S = 1.0, 600.0, 30.0


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch."""

    after_revision: int | None
    heartbeat_s: float


def watch(given: conversation_pb2.WatchConversationRequest) -> Watch:
    """Read what to watch.

    Raises:
        InvalidRequest: With every fault that shows without the conversation.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    after = given.after_revision if given.HasField("after_revision") else None
    if after is not None and after < 0:
        faults.add("after_revision", f"is {after}, and must not be negative")
    heartbeat_s = _DEFAULT_S
    if given.HasField("heartbeat_interval"):
        heartbeat_s = _seconds(given.heartbeat_interval)
        faults.within("heartbeat_interval", heartbeat_s, _LEAST_S, _MOST_S)
    faults.stop()
    return Watch(after, heartbeat_s)


def change_proto(change: Change) -> conversation_pb2.WatchConversationResponse:
    """Write one change."""
    written = conversation_pb2.WatchConversationResponse(revision=change.revision)
    match change:
        case Created():
            written.created.CopyFrom(conversation_proto(change.conversation))
        case Appended():
            written.message_appended.message.CopyFrom(message_proto(change.message))
            written.message_appended.moved_head = change.moved_head
        case MessageUpdated():
            written.message_updated.CopyFrom(message_proto(change.message))
        case ConversationUpdated():
            written.conversation_updated.CopyFrom(conversation_proto(change.conversation))
        case Deleted():
            written.deleted.SetInParent()
    return written


def shown(change: Change) -> object:
    """What of a change may take long to write."""
    match change:
        case Created() | ConversationUpdated():
            return change.conversation.metadata
        case Appended() | MessageUpdated():
            return change.message
    return None


def heartbeat(revision: int) -> conversation_pb2.WatchConversationResponse:
    """Write a sign of life."""
    beat = conversation_pb2.Heartbeat(send_time=timestamp(time.time_ns()))
    return conversation_pb2.WatchConversationResponse(revision=revision, heartbeat=beat)


def _seconds(given: duration_pb2.Duration) -> float:
    return given.seconds + given.nanos / 1e9
