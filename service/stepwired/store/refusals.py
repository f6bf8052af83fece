"""What every store refuses, in the same words."""

from __future__ import annotations

from stepwired.conversation import MessageView
from stepwired.errors import Conflict, InvalidRequest, NotFound, Reason, Subject, Violation


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


def conversation_exists(conversation_id: str) -> Conflict:
    """The failure that every store raises for an id that is taken."""
    text = f"conversation `{conversation_id}` exists already: choose another id, or append to it"
    return Conflict(Reason.CONVERSATION_EXISTS, text, subject=Subject("conversation", conversation_id))


def blob_not_found(blob_id: str) -> NotFound:
    """The failure that every store raises for an unknown blob."""
    text = f"there is no blob `{blob_id}`: upload the picture, again if that was a day ago"
    return NotFound(Reason.BLOB_NOT_FOUND, text, subject=Subject("blob", blob_id))


def pipeline_not_found(name: str, version: str) -> NotFound:
    """The failure that every store raises for an unknown pipeline, or an unknown version of it."""
    which = f"version {version} of pipeline `{name}`" if version else f"pipeline `{name}`"
    subject = Subject("pipeline", f"{name}@{version}" if version else name)
    return NotFound(Reason.PIPELINE_NOT_FOUND, f"there is no {which}", subject=subject)


def pipeline_exists(name: str, version: str) -> Conflict:
    """The failure that every store raises for a version that is there with other content."""
    text = (
        f"version {version} of pipeline `{name}` exists already, with other content, and versions never change:"
        " save under a higher one, or under none to have one chosen"
    )
    return Conflict(Reason.PIPELINE_EXISTS, text, subject=Subject("pipeline", f"{name}@{version}"))


def no_version_left(name: str, version: str) -> InvalidRequest:
    """The failure of a pipeline whose highest version has no successor."""
    text = f"is needed: `{name}` has version {version}, and no higher one can be chosen for it"
    return InvalidRequest.of([Violation("pipeline.version", text, Reason.FIELD_REQUIRED)])


def check_revision(conversation_id: str, revision: int, if_revision: int | None) -> None:
    """Refuse a writer who does not know the newest revision.

    Raises:
        Conflict: REVISION_MISMATCH.
    """
    if if_revision is not None and if_revision != revision:
        text = (
            f"conversation `{conversation_id}` has revision {revision}, not {if_revision}: read it again, then decide"
        )
        subject = Subject("conversation", conversation_id)
        raise Conflict(Reason.REVISION_MISMATCH, text, metadata={"revision": str(revision)}, subject=subject)


def request_id_mismatch() -> InvalidRequest:
    """The failure of a request whose id belongs to another one."""
    text = "was used for another request within 24 hours: choose a new one"
    return InvalidRequest.of([Violation("request_id", text, Reason.REQUEST_ID_MISMATCH)])


def bad_position() -> InvalidRequest:
    """The failure of a page token that this store did not make."""
    return InvalidRequest.of([Violation("page_token", "was not made by this call", Reason.INVALID_PAGE_TOKEN)])


def feed_compacted(conversation_id: str, earliest_revision: int) -> Conflict:
    """The failure of a reader of changes who comes too late."""
    text = (
        f"changes of conversation `{conversation_id}` before revision {earliest_revision} are no longer kept one by"
        " one: read it anew and go on from its revision"
    )
    metadata = {"earliestRevision": str(earliest_revision)}
    return Conflict(Reason.FEED_COMPACTED, text, metadata=metadata, subject=Subject("conversation", conversation_id))
