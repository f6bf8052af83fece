"""What every store of conversations promises, whatever it is built on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from stepwired.conversation import Conversation, MessageView
from stepwired.errors import InvalidRequest, NotFound, Reason, Subject, Violation
from stepwired.events import Json, Message


class ConversationStore(Protocol):
    """Conversations that outlive the process.

    Guarantees, the same for every implementation and tested as such:

    - Durable. A write that returned survives kill -9 and, unless the operator chose otherwise, the loss of power. A
      read never returns what is not durable.
    - Atomic. A write happens whole or not at all. One that raises has changed nothing; so has one whose process died,
      unless it was done.
    - Ordered. The writes of one conversation happen one after the other, as if each were alone. A read that begins
      after a write returned sees it. Order never depends on clocks.
    - Cancelled callers. A write is handed over before its first wait. A caller that is cancelled while it waits leaves
      the write to be done, or refused, whole; `close` waits for it.
    - The loop is never blocked, by a write or by a slow read.

    Any method may raise, beside what it names:
        Throttled: STORE_FULL, the disk. Reads go on; writes work again when there is room.
        Unavailable: STORE_IO_ERROR, after which the store only reads until it is opened anew: nobody knows what reached
            the disk. STORE_UNAVAILABLE, when it is closed.
        Conflict: STORE_CONFLICT, when another program locked the store for seconds.
        Broken: STORE_CORRUPT, what was stored cannot be read.
        Misconfigured: STORE_VERSION_UNSUPPORTED, a later version of this program stored it.

    Messages come in with what their caller set, and valid: texts that UTF-8 can say, JSON that a Struct can hold. They
    go out complete, with id, parent and times.
    """

    async def create(
        self,
        conversation_id: str = "",
        *,
        title: str = "",
        metadata: Mapping[str, Json] | None = None,
        messages: Sequence[Message] = (),
        allow_orphan: bool = False,
    ) -> tuple[Conversation, tuple[str, ...]]:
        """Create a conversation, under a new UUID unless an id is given, and append its first messages.

        Returns:
            The conversation and the ids of its messages, in their order.

        Raises:
            InvalidRequest: All faults of the messages at once; see `conversation.grow`.
            NotFound: MESSAGE_NOT_FOUND, a parent.
            Conflict: CONVERSATION_EXISTS.
        """

    async def get(self, conversation_id: str) -> Conversation:
        """Describe a conversation.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND.
        """

    async def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        keep_head: bool = False,
        allow_orphan: bool = False,
    ) -> tuple[Conversation, tuple[str, ...]]:
        """Append messages, all or none, by the rules of `conversation.grow`.

        Repeating an append whose messages carry ids of their own changes nothing.

        Returns:
            The conversation afterwards and the ids of the messages, in their order.

        Raises:
            InvalidRequest: All faults of the messages at once; FIELD_INVALID where there would be too many.
            NotFound: CONVERSATION_NOT_FOUND, or MESSAGE_NOT_FOUND for a parent.
            Conflict: MESSAGE_ID_EXISTS.
        """

    async def begin_reply(self, conversation_id: str, messages: Sequence[Message], *, parent_id: str = "") -> str:
        """Append what a model is to reply to, all or none, if there is room for a message of the reply as well.

        Args:
            conversation_id: An existing conversation.
            messages: May be empty, to continue from `parent_id` or the head as it is.
            parent_id: What the first of them follows; the head if empty.

        Returns:
            The id of the message that the reply will follow.

        Raises:
            InvalidRequest: As `append`; INVALID_CONVERSATION when there is nothing at all to reply to.
            NotFound, Conflict: As `append`.
        """

    async def append_reply(
        self, conversation_id: str, parent_id: str, messages: Sequence[Message]
    ) -> tuple[tuple[Message, ...], bool]:
        """Append a reply below `parent_id`, each message below the one before it.

        The head moves to its end only if it still is `parent_id`; otherwise the reply stays as a branch. It is never
        refused for lack of room: somebody has paid for it.

        Returns:
            The messages as stored, and whether they lie on a branch.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND.
            InvalidRequest: As `append`.
        """

    def messages(
        self, conversation_id: str, view: MessageView = MessageView.HEAD_PATH, message_id: str = ""
    ) -> AsyncGenerator[tuple[Message, ...], None]:
        """Yield messages, parents before children, in pages of about `Limits.stream_message_bytes`; no page is empty.

        Shows the messages that the conversation had at the first read, however long the reader takes: messages are
        only ever added. What may change of one is shown as it is when its page is read. Memory: a page, and at most a
        few MB of positions for a conversation of 100,000 messages. Nothing in the store is held while the reader does
        something else.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND, before the first page.
            InvalidRequest: See `check_view`.
        """

    async def message(self, conversation_id: str, message_id: str) -> Message:
        """Read one message.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND.
        """

    async def close(self) -> None:
        """Do what was handed over, then release everything. May be called again."""


def check_view(view: MessageView, message_id: str) -> None:
    """Refuse a view without the message it needs, or with one it has no use for.

    Raises:
        InvalidRequest: FIELD_REQUIRED or FIELD_INVALID, on `message_id`.
    """
    if (view is MessageView.PATH_TO) is not bool(message_id):
        lacking = Violation("message_id", "is needed to know where the path ends", Reason.FIELD_REQUIRED)
        extra = Violation("message_id", f"has no meaning in the view {view.value}")
        raise InvalidRequest.of([extra if message_id else lacking])


def conversation_not_found(conversation_id: str) -> NotFound:
    """The failure that every store raises for an unknown conversation."""
    subject = Subject("conversation", conversation_id)
    return NotFound(Reason.CONVERSATION_NOT_FOUND, f"there is no conversation `{conversation_id}`", subject=subject)
