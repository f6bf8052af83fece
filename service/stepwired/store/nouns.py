"""The words of the store's protocol: what makes a call repeatable, what changed, what was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stepwired.conversation import Conversation
from stepwired.events import Finished, Message, Role, TokenLogprob

KEEP_ANSWER_S = 24 * 3600
"""How long an answer is kept for repeats, at least."""

KEEP_BLOB_S = 24 * 3600
"""How long a blob is kept after its last upload, at least, while no message refers to it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What makes a write safe to repeat. Ids of different methods do not meet."""

    id: str
    """The caller's, 1 to 36 printable characters."""

    digest: bytes
    """Tells requests apart: the same request gives the same bytes, another gives others."""


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A chat that its caller may repeat. Ids of different methods do not meet."""

    method: str
    id: str
    """The caller's, 1 to 36 printable characters."""

    digest: bytes
    """Tells requests apart: the same request gives the same bytes, another gives others."""

    conversation_id: str = ""
    """The conversation that it is about, if any."""


@dataclass(frozen=True, slots=True)
class WholeReply:
    """A reply that is kept for repeats."""

    finished: Finished
    logprobs: tuple[TokenLogprob, ...] = ()
    """The tokens of its text, if they were asked for."""


class ListOrder(Enum):
    """What newest means."""

    CREATE_TIME = "create_time"
    UPDATE_TIME = "update_time"


@dataclass(frozen=True, slots=True)
class Created:
    """The conversation was created; `conversation` as it was then. Its messages follow as changes of their own."""

    revision: int
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Appended:
    """A message was appended; `message` with the metadata and status of now."""

    revision: int
    message: Message
    moved_head: bool


@dataclass(frozen=True, slots=True)
class MessageUpdated:
    """Metadata or status of a message changed; `message` as it is now."""

    revision: int
    message: Message


@dataclass(frozen=True, slots=True)
class ConversationUpdated:
    """Title, metadata or head changed; `conversation` as it was then."""

    revision: int
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Deleted:
    """The conversation was deleted. The last change there is."""

    revision: int


#: One change of a conversation, with the revision that it made.
Change = Created | Appended | MessageUpdated | ConversationUpdated | Deleted


@dataclass(frozen=True, slots=True)
class Hit:
    """One message that was found."""

    conversation_id: str
    conversation_title: str
    message_id: str
    role: Role
    create_time_ns: int
    snippet: str
    """The part of its text around the match: at most 64 words and 1,000 characters. Of the last hits of a page whose
    texts are very long, their beginning."""

    highlights: tuple[tuple[int, int], ...]
    """Where the words are in `snippet`: first code point and the one after the last, in order, never overlapping. Empty
    where `snippet` is only the beginning."""


@dataclass(frozen=True, slots=True)
class KeptPipeline:
    """A version of a pipeline."""

    name: str
    version: str
    create_time_ns: int
    body: bytes
    """`stepwire.v1.Pipeline` with all of the above, as `codec.pipelines` reads it; in lists without its steps."""
