"""What stored conversations come to: what was stored, what was found, what changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from stepwire.v1 import conversation_pb2, message_pb2

__all__ = ["ConversationChange", "MessageHit", "Stored", "UpdatedMessage"]

ChangeKind: TypeAlias = Literal[
    "created", "message_appended", "message_updated", "conversation_updated", "deleted", "unknown"
]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a conversation has become, and the ids of the messages just stored, in the order given."""

    conversation: conversation_pb2.Conversation
    message_ids: list[str]

    @property
    def id(self) -> str:
        """The conversation's id."""
        return self.conversation.id


@dataclass(frozen=True, slots=True)
class UpdatedMessage:
    """A message as it has become, and its conversation's revision."""

    message: message_pb2.Message
    revision: int


@dataclass(frozen=True, slots=True)
class MessageHit:
    """One message that a search found."""

    conversation_id: str
    conversation_title: str
    message_id: str
    role: str
    create_time: datetime
    """When it was made, UTC."""

    snippet: str
    """The part of its text around the match."""

    highlights: tuple[tuple[int, int], ...]
    """Where the words are in `snippet`: from the first character to before the second."""

    proto: conversation_pb2.MessageHit = field(repr=False, compare=False)

    @classmethod
    def of(cls, proto: conversation_pb2.MessageHit) -> MessageHit:
        """Read the wire's hit."""
        return cls(
            conversation_id=proto.conversation_id,
            conversation_title=proto.conversation_title,
            message_id=proto.message_id,
            role=proto.role,
            create_time=proto.create_time.ToDatetime(tzinfo=UTC),
            snippet=proto.snippet,
            highlights=tuple((part.start, part.end) for part in proto.highlights),
            proto=proto,
        )


@dataclass(frozen=True, slots=True)
class ConversationChange:
    """One change of a conversation."""

    revision: int
    """The conversation's revision with this change. Pass it as `after_revision` to go on from here."""

    kind: ChangeKind
    message: message_pb2.Message | None
    """The message that was appended, as it was stored, or updated, as it is now; None for other changes."""

    conversation: conversation_pb2.Conversation | None
    """The conversation as it was then, if it was created or updated; None for other changes."""

    moved_head: bool
    """Whether the head moved to the message that was appended."""

    proto: conversation_pb2.WatchConversationResponse = field(repr=False, compare=False)

    @classmethod
    def of(cls, proto: conversation_pb2.WatchConversationResponse) -> ConversationChange | None:
        """Read the wire's change; None for a sign of life."""
        message: message_pb2.Message | None = None
        conversation: conversation_pb2.Conversation | None = None
        kind: ChangeKind = "unknown"  # of a later version; its revision counts
        match proto.WhichOneof("change"):
            case "heartbeat":
                return None
            case "created":
                kind, conversation = "created", proto.created
            case "message_appended":
                kind, message = "message_appended", proto.message_appended.message
            case "message_updated":
                kind, message = "message_updated", proto.message_updated
            case "conversation_updated":
                kind, conversation = "conversation_updated", proto.conversation_updated
            case "deleted":
                kind = "deleted"
        return cls(proto.revision, kind, message, conversation, proto.message_appended.moved_head, proto)
