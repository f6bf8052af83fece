"""What every store of conversations promises, whatever it is built on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from stepwired.conversation import Conversation, MessageView
from stepwired.events import Json, Message, MessageStatus
from stepwired.store.nouns import Request
from stepwired.store.parts import Blobs, Feed, Index, Pipelines, Replies


class ConversationStore(Index, Feed, Blobs, Pipelines, Replies, Protocol):
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

    `request` makes a write safe to repeat for 24 hours of the store's own running time, which no clock can shorten: the
    same request returns the first answer, whatever has happened since, and does nothing; another with its id is refused
    (InvalidRequest, REQUEST_ID_MISMATCH). When its conversation is deleted the answer goes too, but not the memory of
    it: repeating is then refused (NotFound, CONVERSATION_NOT_FOUND), and still does nothing.

    `if_revision` refuses a write unless the conversation has this revision (Conflict, REVISION_MISMATCH, with
    `revision` in its metadata).

    Any method may raise, beside what it names:
        Throttled: STORE_FULL, the disk. Reads go on; writes work again when there is room.
        Unavailable: STORE_IO_ERROR, after which the store only reads until it is opened anew: nobody knows what reached
            the disk. STORE_UNAVAILABLE, when it is closed, or a read took more than 5 s and was given up.
        Conflict: STORE_CONFLICT, when another program locked the store for seconds.
        Broken: STORE_CORRUPT, what was stored cannot be read.
        Misconfigured: STORE_VERSION_UNSUPPORTED, a later version of this program stored it.

    Messages come in with what their caller set, and valid: texts that UTF-8 can say, JSON that a Struct can hold. They
    go out complete, with id, parent and times. Images come in with a `uri`, or with the `blob_id` of a blob that is
    there; what is known of a blob is filled in.
    """

    async def answered(self, method: str, request: Request) -> tuple[Conversation, tuple[str, ...]] | None:
        """Look up, on a reader, whether a request was answered before: what its write would return, without its cost.

        For what has to be prepared before a write, such as pictures. None says nothing of a write under way: the write
        itself looks again.

        Args:
            method: `create`, `append` or `fork`.
            request: See the class.

        Returns:
            The first answer (of a fork, without ids); None if there is none, or none that is still kept.

        Raises:
            InvalidRequest: REQUEST_ID_MISMATCH.
            NotFound: CONVERSATION_NOT_FOUND, the conversation of the answer was deleted.
        """

    async def create(
        self,
        conversation_id: str = "",
        *,
        title: str = "",
        metadata: Mapping[str, Json] | None = None,
        messages: Sequence[Message] = (),
        allow_orphan: bool = False,
        request: Request | None = None,
    ) -> tuple[Conversation, tuple[str, ...]]:
        """Create a conversation, under a new UUID unless an id is given, and append its first messages.

        Returns:
            The conversation and the ids of its messages, in their order.

        Raises:
            InvalidRequest: All faults of the messages at once; see `conversation.grow`. REQUEST_ID_MISMATCH.
            NotFound: MESSAGE_NOT_FOUND, a parent; BLOB_NOT_FOUND.
            Conflict: CONVERSATION_EXISTS.
        """

    async def get(self, conversation_id: str) -> Conversation:
        """Describe a conversation.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND.
        """

    async def update(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        merge: bool = False,
        head_id: str | None = None,
        if_revision: int | None = None,
    ) -> Conversation:
        """Change what is not None, all or nothing, as one change.

        Args:
            conversation_id: An existing conversation.
            title: The new title.
            metadata: The new metadata, or, with `merge`, a merge patch for it (RFC 7396).
            merge: Whether `metadata` is a patch.
            head_id: The new head.
            if_revision: See the class.

        Returns:
            The conversation afterwards.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND, or MESSAGE_NOT_FOUND for the head.
            InvalidRequest: INVALID_METADATA, it is too large once merged.
            Conflict: REVISION_MISMATCH.
        """

    async def delete(self, conversation_id: str, *, if_revision: int | None = None) -> None:
        """Remove a conversation with all that belongs to it: messages, search, changes, answers kept for repeats.

        Blobs that only it refers to go soon after, or 24 hours after their last upload if that is later. Whoever
        follows `changes` gets `Deleted`. About 1 s for 100,000 messages, during which no other write is done.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND.
            Conflict: REVISION_MISMATCH.
        """

    async def fork(
        self,
        conversation_id: str,
        message_id: str = "",
        *,
        new_id: str = "",
        title: str | None = None,
        request: Request | None = None,
    ) -> Conversation:
        """Copy the path to a message into a new conversation. Messages keep all they have; metadata is copied as well.

        About 1 s for 100,000 messages, during which no other write is done.

        Args:
            conversation_id: The conversation to copy from.
            message_id: The end of the path, and the new head. Default: the head.
            new_id: Id of the copy. Default: a new UUID.
            title: Title of the copy. Default: the same.
            request: See the class.

        Returns:
            The copy.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND.
            Conflict: CONVERSATION_EXISTS.
            InvalidRequest: REQUEST_ID_MISMATCH.
        """

    async def import_(
        self, conversation: Conversation, messages: Sequence[Message], *, as_line: bool = False
    ) -> Conversation:
        """Make a conversation of what was exported, all or nothing: ids, parents, times, status and branches as given.

        About 2 s for 100,000 messages, during which no other write is done.

        Args:
            conversation: Its id (default: a new UUID), title, metadata, creation (default: now) and head (default: the
                last message). All else is ignored.
            messages: Parents before children. One without a parent is a first message; there may be several.
            as_line: The messages name no parents: each follows the one before it.

        Returns:
            The conversation.

        Raises:
            InvalidRequest: All faults of the messages at once.
            NotFound: BLOB_NOT_FOUND.
            Conflict: CONVERSATION_EXISTS.
        """

    async def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        keep_head: bool = False,
        allow_orphan: bool = False,
        if_revision: int | None = None,
        request: Request | None = None,
    ) -> tuple[Conversation, tuple[str, ...]]:
        """Append messages, all or none, by the rules of `conversation.grow`. Cost: that of the messages alone.

        Repeating an append whose messages carry ids of their own changes nothing.

        Returns:
            The conversation afterwards and the ids of the messages, in their order.

        Raises:
            InvalidRequest: All faults of the messages at once; FIELD_INVALID where there would be too many.
                REQUEST_ID_MISMATCH.
            NotFound: CONVERSATION_NOT_FOUND, MESSAGE_NOT_FOUND for a parent, BLOB_NOT_FOUND.
            Conflict: MESSAGE_ID_EXISTS, REVISION_MISMATCH.
        """

    def messages(
        self, conversation_id: str, view: MessageView = MessageView.HEAD_PATH, message_id: str = ""
    ) -> AsyncGenerator[tuple[Message, ...], None]:
        """Yield messages, parents before children, in pages of about `Limits.stream_message_bytes`; no page is empty.

        Shows the messages that there were at the first read, however long the reader takes: which ones is fixed then,
        and each comes with its metadata and status of when its page is read. Memory: a page, and at most a few MB of
        positions for a conversation of 100,000 messages. Nothing in the store is held while the reader does something
        else. This is all that an export needs.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND, before the first page; CONVERSATION_NOT_FOUND between
                pages, if it is deleted.
            InvalidRequest: See `refusals.check_view`.
        """

    async def message(self, conversation_id: str, message_id: str) -> Message:
        """Read one message.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND.
        """

    async def update_message(
        self,
        conversation_id: str,
        message_id: str,
        *,
        metadata: Mapping[str, Json] | None = None,
        merge: bool = False,
        status: MessageStatus | None = None,
        if_revision: int | None = None,
    ) -> tuple[Message, int]:
        """Change metadata (replaced, or with `merge` patched as by RFC 7396) or status of a message, as one change.

        Returns:
            The message afterwards, and the conversation's revision.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND.
            InvalidRequest: INVALID_METADATA, it is too large once merged.
            Conflict: REVISION_MISMATCH.
        """

    async def close(self) -> None:
        """Do what was handed over, end readers of `changes`, then release everything. May be called again."""
