"""What every store of conversations promises beside its trees: lists, search, changes, pictures, pipelines, replies.

`base.ConversationStore` is all of them together, and says what holds for each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from stepwired.conversation import Conversation
from stepwired.events import Image, Message
from stepwired.store.nouns import Change, ChatCall, Hit, KeptPipeline, ListOrder, WholeReply

LIST_BYTES = 4 * 1024 * 1024
"""What a page of a list takes where nobody says."""


class Index(Protocol):
    """Finds conversations and messages."""

    async def list(
        self,
        *,
        page_size: int = 100,
        page_bytes: int = LIST_BYTES,
        after: str = "",
        labels: Mapping[str, str] | None = None,
        create_from_ns: int | None = None,
        create_before_ns: int | None = None,
        update_from_ns: int | None = None,
        order: ListOrder = ListOrder.CREATE_TIME,
    ) -> tuple[Sequence[Conversation], str]:
        """List conversations, newest first. Cost: a page; by UPDATE_TIME with labels, all that have the first one.

        By CREATE_TIME nothing is shown twice or missed while pages are read. By UPDATE_TIME, what changes meanwhile
        moves to the front.

        Args:
            page_size: At most so many; a page may be shorter, and even empty, and not be the last.
            page_bytes: What they take together as protobuf, at most, unless the first alone is larger. Nothing beyond
                is read.
            after: Where the page before ended, asked for with the same arguments.
            labels: Texts that the metadata must have under these keys, on its first level.
            create_from_ns: Created then or later.
            create_before_ns: Created earlier.
            update_from_ns: Last changed then or later.
            order: What newest means.

        Returns:
            The conversations, and the position after the last of them: empty after the last page.

        Raises:
            InvalidRequest: INVALID_PAGE_TOKEN, `after` is none of ours.
        """

    async def search(
        self, query: str, *, conversation_id: str = "", page_size: int = 20, after: str = ""
    ) -> tuple[Sequence[Hit], str]:
        """Find messages by words of their text or tool result, best match first.

        Args:
            query: Words that all must occur, in any order, case and accents aside; `"a phrase"`, `begin*`, `-without`.
            conversation_id: Only in this one.
            page_size: At most so many.
            after: Where the page before ended, asked for with the same arguments.

        Returns:
            What was found, and where it ends: empty after the last page, or the 10,000th hit. What is stored between
            two pages may move hits from one to the other.

        Raises:
            InvalidRequest: INVALID_FILTER, no word that must occur, or more than 32 words and phrases, each counted
                once; INVALID_PAGE_TOKEN.
            NotFound: CONVERSATION_NOT_FOUND.
        """


class Feed(Protocol):
    """Tells what changes."""

    def changes(
        self, conversation_id: str, after_revision: int | None = None
    ) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield each change after a revision exactly once, in order, then those to come; no page is empty.

        Ends after `Deleted`, and otherwise only with its reader or the store. What was not read by the time of a
        deletion goes with the conversation: `Deleted`, with its own revision, follows at once. Waiting costs nothing.
        Of a conversation all appends are kept, and the newest updates: see `changes.KEPT_UPDATES`.

        Args:
            conversation_id: An existing conversation.
            after_revision: The last one seen; 0 for all that there ever were. Default: the one of now.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND.
            InvalidRequest: FIELD_INVALID on `after_revision`, which lies in the future, or is negative.
            Conflict: FEED_COMPACTED, with `earliestRevision` in its metadata: the smallest `after_revision` that works.
                May also come later, to a reader that falls behind so far.
            Unavailable: STORE_UNAVAILABLE, when the store is closed.
        """


class Blobs(Protocol):
    """Keeps pictures."""

    async def put_blob(self, image: Image, data: bytes) -> str:
        """Keep the bytes of a picture once, under the hash of them. Nothing blocks on it but its caller.

        A blob that no message refers to is kept for 24 hours of running time after its last upload, at least.

        Args:
            image: `media_type`, `width` and `height` are kept.
            data: The whole file.

        Returns:
            `sha256:` and 64 hexadecimal digits.
        """

    async def blob(self, blob_id: str) -> Image:
        """Say what is known of a blob: `blob_id`, `media_type`, `width`, `height`, `size_bytes`.

        Raises:
            NotFound: BLOB_NOT_FOUND.
        """

    def blob_chunks(self, blob_id: str) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a blob, in chunks of at most 64 KiB.

        Raises:
            NotFound: BLOB_NOT_FOUND; also between chunks, if nothing refers to it any more.
        """


class Pipelines(Protocol):
    """Keeps pipelines by name and version.

    What `base.ConversationStore` promises of conversations holds for them: a save or deletion that returned survives
    kill -9 and the loss of power, happens whole or not at all, and happens even if its caller is cancelled meanwhile.
    They happen one after the other, so that saves without a version get versions of their own. What is in a pipeline
    is no matter here: whoever saves has looked at it.
    """

    async def save_pipeline(self, name: str, version: str, content: bytes) -> KeptPipeline:
        """Keep a version of a pipeline. Changes nothing if the same content is there under the same version.

        Args:
            name: Its name.
            version: As `versions` knows them. Empty for the highest there is, if that has the same content, and
                otherwise for `versions.following` it.
            content: All else of it, as `codec.pipelines.content` makes it.

        Returns:
            The whole pipeline, with its version and time.

        Raises:
            Conflict: PIPELINE_EXISTS, the version is there with other content.
            InvalidRequest: FIELD_REQUIRED, on `pipeline.version`: no version can follow the highest.
        """

    async def pipeline(self, name: str, version: str = "") -> KeptPipeline:
        """Read a version of a pipeline; the highest if none is named.

        Raises:
            NotFound: PIPELINE_NOT_FOUND.
        """

    async def pipelines(
        self, *, name: str = "", page_size: int = 100, page_bytes: int = LIST_BYTES, after: str = ""
    ) -> tuple[Sequence[KeptPipeline], str]:
        """List the highest version of each pipeline, by name; or all versions of one, the highest first.

        Nothing is shown twice or missed while pages are read, except what is saved or deleted meanwhile.

        Args:
            name: Only the versions of this one.
            page_size: At most so many; a page may be shorter and not be the last, though never empty.
            page_bytes: What their bodies take together, at most, unless the first alone is larger.
            after: Where the page before ended, asked for with the same name.

        Returns:
            The pipelines without their steps, and the position after the last of them: empty after the last page.
        """

    def whole_pipelines(self) -> AsyncGenerator[KeptPipeline, None]:
        """Yield every version of every pipeline, whole, by name, the lowest version first: to be read at the start."""

    async def delete_pipeline(self, name: str, version: str = "") -> Sequence[str]:
        """Remove a version of a pipeline; all of them if none is named. A version may then be saved anew.

        Returns:
            The versions that are gone, the lowest first.

        Raises:
            NotFound: PIPELINE_NOT_FOUND.
        """


class Replies(Protocol):
    """Takes what a model is asked, and what it replies.

    A `call` makes that safe to repeat for 24 hours of the store's own running time: what was asked is appended once
    however often the call is tried, and a reply that is whole can be had again. When the conversation is deleted the
    reply goes too, but not the memory of it: the call is then refused (NotFound, CONVERSATION_NOT_FOUND). Another
    request with its id is refused (InvalidRequest, REQUEST_ID_MISMATCH). Callers see to it that no two tries of a call
    run at once.
    """

    async def begin_reply(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        parent_id: str = "",
        if_revision: int | None = None,
        call: ChatCall | None = None,
    ) -> str:
        """Append what a model is to reply to, all or none, if there is room for a message of the reply as well.

        Args:
            conversation_id: An existing conversation.
            messages: May be empty, to continue from `parent_id` or the head as it is.
            parent_id: What the first of them follows; the head if empty.
            if_revision: See `base.ConversationStore`. Not looked at where `call` was begun before.
            call: See the class. If it was begun before, nothing is appended.

        Returns:
            The id of the message that the reply will follow.

        Raises:
            InvalidRequest: As `append`; INVALID_CONVERSATION when there is nothing at all to reply to.
            NotFound, Conflict: As `append`.
        """

    async def append_reply(
        self,
        conversation_id: str,
        parent_id: str,
        messages: Sequence[Message],
        *,
        call: ChatCall | None = None,
        reply: WholeReply | None = None,
    ) -> tuple[tuple[Message, ...], bool]:
        """Append a reply below `parent_id`, each message below the one before it.

        The head moves to its end only if it still is `parent_id`, or what an earlier try of `call` left; otherwise the
        reply stays as a branch. It is never refused for lack of room: somebody has paid for it.

        Args:
            conversation_id: An existing conversation.
            parent_id: What the first of them follows.
            messages: At least one.
            call: See the class; was begun.
            reply: With `call`, the whole reply, to be kept with these messages as they are stored. None: they are what
                is left of a try that was cut off.

        Returns:
            The messages as stored, and whether they lie on a branch.

        Raises:
            NotFound: CONVERSATION_NOT_FOUND or MESSAGE_NOT_FOUND.
            InvalidRequest: As `append`.
        """

    async def begin_call(self, call: ChatCall) -> None:
        """Note that a call without a conversation has begun, unless it is noted already.

        Raises:
            InvalidRequest: REQUEST_ID_MISMATCH.
        """

    async def keep_reply(self, call: ChatCall, reply: WholeReply) -> None:
        """Keep the whole reply to a call that was begun, without appending anything.

        Nothing is kept of one that would take more than `Limits.reply_bytes`: no message can carry it.
        """

    async def kept_reply(self, call: ChatCall) -> WholeReply | None:
        """Find the whole reply to a call, if there is one.

        Raises:
            InvalidRequest: REQUEST_ID_MISMATCH.
            NotFound: CONVERSATION_NOT_FOUND, the conversation was deleted.
        """
