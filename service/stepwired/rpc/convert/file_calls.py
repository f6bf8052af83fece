"""What is asked about files: pictures, and conversations as files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stepwire.v1 import conversation_pb2
from stepwired.conversation import MessageView
from stepwired.errors import InvalidRequest, Violation
from stepwired.rpc.convert.conversations import TITLE_BYTES
from stepwired.rpc.convert.files import FORMATS, PROTO_JSON
from stepwired.rpc.convert.images import NAME_BYTES, blob_id
from stepwired.rpc.convert.message_calls import VIEWS
from stepwired.violations import Faults


def picture_name(given: conversation_pb2.UploadImageRequest) -> str:
    """Read the name of a picture.

    Raises:
        InvalidRequest: It is no name.
    """
    faults = Faults()
    faults.text("name", given.name, NAME_BYTES)
    faults.stop()
    return given.name


def blob_named(given: conversation_pb2.DownloadImageRequest) -> str:
    """Read which picture to send.

    Raises:
        InvalidRequest: It cannot be one.
    """
    faults = Faults()
    blob_id("blob_id", given.blob_id, faults)
    faults.stop()
    return given.blob_id


@dataclass(frozen=True, slots=True)
class Export:
    """What to write."""

    kind: int
    """One of `FORMATS`."""

    view: MessageView


def export(given: conversation_pb2.ExportConversationRequest) -> Export:
    """Read what to write.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    faults.id("conversation_id", given.conversation_id, required=True)
    kind = given.format or PROTO_JSON
    if kind not in FORMATS:
        faults.add("format", f"{kind} is no format")
    view = MessageView.ALL if kind == PROTO_JSON else MessageView.HEAD_PATH
    if given.view:
        view = VIEWS.get(given.view, MessageView.PATH_TO)
    if view is MessageView.PATH_TO:
        faults.add("view", f"{given.view} is no view that a file can have")
    faults.stop()
    return Export(kind, view)


@dataclass(frozen=True, slots=True)
class Import:
    """What to make of a file."""

    kind: int
    """One of `FORMATS`, or 0 to find out."""

    conversation_id: str
    title: str


def import_(given: conversation_pb2.ImportConversationRequest) -> Import:
    """Read what to make of a file.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    if given.format and given.format not in FORMATS:
        faults.add("format", f"{given.format} is no format")
    faults.id("conversation_id", given.conversation_id)
    faults.text("title", given.title, TITLE_BYTES)
    faults.stop()
    return Import(given.format, given.conversation_id, given.title)


def only_chunk(given: Any) -> None:
    """Refuse what only the first message of an upload may say.

    Raises:
        InvalidRequest: It is said in a later one.
    """
    for field, _ in given.ListFields():
        if field.name != "chunk":
            raise InvalidRequest.of([Violation(field.name, "belongs into the first message only")])
