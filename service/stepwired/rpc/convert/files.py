"""Conversations as files, in three formats, written and read message by message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
from google.protobuf import json_format

from stepwire.v1 import conversation_pb2, message_pb2
from stepwired.conversation import Conversation
from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Json, Message, MessageStatus
from stepwired.limits import Limits
from stepwired.rpc.convert.conversations import TITLE_BYTES, conversation_proto
from stepwired.rpc.convert.file_values import Url, fault
from stepwired.rpc.convert.guide_json import TYPES, guide_object, of_guide_object
from stepwired.rpc.convert.json_scan import NotJson, Scanner
from stepwired.rpc.convert.messages import message, message_json
from stepwired.rpc.convert.openai_json import OpenAiWriter, of_openai_object
from stepwired.rpc.convert.values import metadata_of, nanoseconds
from stepwired.violations import Faults

PROTO_JSON = conversation_pb2.CONVERSATION_FORMAT_PROTO_JSON
GUIDE_JSON = conversation_pb2.CONVERSATION_FORMAT_GUIDE_JSON
OPENAI_MESSAGES = conversation_pb2.CONVERSATION_FORMAT_OPENAI_MESSAGES
FORMATS = frozenset({PROTO_JSON, GUIDE_JSON, OPENAI_MESSAGES})

#: Faults of one file that are told.
_FAULTS = 100
#: What the implementation behind the guide writes for no parent.
_NO_PARENT = "00000000-0000-0000-0000-000000000000"

_encode = msgspec.json.Encoder(order="deterministic").encode


class FileWriter:
    """Writes one conversation: `begin`, `add` for each message, `end`; each gives the bytes that are next.

    Args:
        kind: One of `FORMATS`.
        url: Writes the address of each picture.
        data: Writes the bytes of a picture in base64, or None where they are left out.
    """

    def __init__(self, kind: int, url: Url, data: Url | None = None) -> None:
        self._kind = kind
        self._url = url
        self._data = data
        self._openai = OpenAiWriter(url)
        self._separator = b"\n"

    def begin(self, conversation: Conversation) -> bytes:
        if self._kind != PROTO_JSON:
            return b"["
        bare = conversation_proto(replace(conversation, metadata={}))
        seen = cast("dict[str, Json]", json_format.MessageToDict(bare))
        if conversation.metadata:
            seen["metadata"] = dict(conversation.metadata)
        return b'{"conversation": ' + _encode(seen) + b',\n"messages": ['

    def add(self, added: Message) -> bytes:
        match self._kind:
            case conversation_pb2.CONVERSATION_FORMAT_PROTO_JSON:
                return self._items([self._proto_json(added)])
            case conversation_pb2.CONVERSATION_FORMAT_GUIDE_JSON:
                return self._items([guide_object(added, self._url)])
            case _:
                return self._items(self._openai.add(added))

    def end(self) -> bytes:
        left = self._items(self._openai.finish())
        return left + (b"\n]}\n" if self._kind == PROTO_JSON else b"\n]\n")

    def _items(self, items: Iterable[Json]) -> bytes:
        written = bytearray()
        for item in items:
            written += self._separator + _encode(item)
            self._separator = b",\n"
        return bytes(written)

    def _proto_json(self, added: Message) -> Json:
        seen = message_json(added)
        if self._data is not None:
            images = cast("list[dict[str, Json]]", cast("dict[str, Json]", seen).get("images", []))
            for image, written in zip(added.images, images, strict=True):
                if image.blob_id:
                    del written["blobId"]
                    written["data"] = self._data(image)
        return seen


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What a file says."""

    conversation: Conversation
    messages: tuple[Message, ...]
    as_line: bool
    """Whether no message names its parent: each follows the one before it."""


def read_file(raw: bytes | bytearray, kind: int, limits: Limits) -> ReadFile:
    """Read a whole file. Takes about 40 µs a message: call it in a thread, where it lets others run.

    Args:
        raw: UTF-8.
        kind: One of `FORMATS`, or 0 to find out.
        limits: Of messages; those of their number and of pictures are wider than in a request.

    Raises:
        InvalidRequest: INVALID_CONVERSATION, with the faults.
    """
    reader = _Reader(Scanner(raw), limits)
    try:
        conversation = reader.read(kind)
    except NotJson as error:
        raise InvalidRequest(Reason.INVALID_CONVERSATION, f"the file is not of its format: {error}") from None
    messages = tuple(reader.messages)
    return ReadFile(conversation, messages, not any(item.parent_id for item in messages))


class _Reader:
    def __init__(self, scanner: Scanner, limits: Limits) -> None:
        self._scanner = scanner
        # A message of a file may have what a stored one can have, not what fits into a request.
        self._limits = replace(limits, inline_image_bytes=limits.image_bytes)
        self._faults = Faults()
        self.messages: list[Message] = []

    def read(self, kind: int) -> Conversation:
        first = self._scanner.peek()
        is_object = first == b"{"
        if first not in (b"{", b"[") or (kind and is_object is not (kind == PROTO_JSON)):
            raise NotJson("an object is missing" if kind == PROTO_JSON else "a list of messages is missing")
        conversation = self._object() if is_object else self._list(kind)
        self._scanner.finish()
        self._stop()
        return conversation

    def _object(self) -> Conversation:
        conversation = Conversation(id="")
        for key in self._scanner.members():
            if key == "conversation":
                conversation = self._conversation(self._scanner.value())
            elif key == "messages":
                self._take(_proto_messages(self._scanner.items()))
            else:
                raise fault(key[:64] or "(empty)", "is unknown here: the file has `conversation` and `messages`")
        return conversation

    def _list(self, kind: int) -> Conversation:
        self._take(_list_messages(self._scanner.items(), kind))
        return Conversation(id="")

    def _take(self, given: Iterator[tuple[str, message_pb2.Message]]) -> None:
        for path, item in given:
            if len(self.messages) >= self._limits.conversation_messages:
                limit = self._limits.conversation_messages
                raise fault(path, f"is one more than the {limit} messages that a conversation holds")
            if item.parent_id == _NO_PARENT:
                item.parent_id = ""
            self._faults.json_values = 0  # what one request may have, one message may
            read = message(path, item, self._limits, self._faults)
            update_time_ns = 0
            if item.HasField("update_time"):
                update_time_ns = nanoseconds(f"{path}.update_time", item.update_time, self._faults)
            is_cut = item.status == message_pb2.MESSAGE_STATUS_INTERRUPTED
            status = MessageStatus.INTERRUPTED if is_cut else MessageStatus.COMPLETE
            self.messages.append(replace(read, status=status, update_time_ns=update_time_ns))
            if len(self._faults.found) > _FAULTS:
                self._stop()

    def _conversation(self, value: Any) -> Conversation:
        given = _parsed("conversation", value, conversation_pb2.Conversation())
        faults = self._faults
        faults.id("conversation.id", given.id)
        faults.text("conversation.title", given.title, TITLE_BYTES)
        faults.id("conversation.head_id", given.head_id)
        metadata = metadata_of("conversation.metadata", given.metadata, self._limits, faults)
        create_time_ns = 0
        if given.HasField("create_time"):
            create_time_ns = nanoseconds("conversation.create_time", given.create_time, faults)
        return Conversation(given.id, given.title, given.head_id, 1, metadata, create_time_ns)

    def _stop(self) -> None:
        if found := self._faults.found:
            told = InvalidRequest.of(found)
            raise InvalidRequest(Reason.INVALID_CONVERSATION, str(told), violations=found[:_FAULTS])


def _proto_messages(items: Iterator[Any]) -> Iterator[tuple[str, message_pb2.Message]]:
    for index, item in enumerate(items):
        path = f"messages[{index}]"
        yield path, _parsed(path, item, message_pb2.Message())


def _list_messages(items: Iterator[Any], kind: int) -> Iterator[tuple[str, message_pb2.Message]]:
    for index, item in enumerate(items):
        path = f"[{index}]"
        if not kind:
            kind = GUIDE_JSON if isinstance(item, dict) and item.get("type") in TYPES else OPENAI_MESSAGES
        if kind == GUIDE_JSON:
            yield path, of_guide_object(path, item)
        else:
            for written in of_openai_object(path, item):
                yield path, written


def _parsed(path: str, value: Any, into: Any) -> Any:
    """Read proto JSON."""
    if not isinstance(value, dict):
        raise fault(path, "must be an object")
    try:
        return json_format.ParseDict(value, into)
    except (json_format.ParseError, ValueError, TypeError, OverflowError, RecursionError):  # it may quote the value
        known = {name for field in into.DESCRIPTOR.fields for name in (field.name, field.json_name)}
        unknown = sorted(value.keys() - known)
        more = f": it has no field `{unknown[0][:64]}`" if unknown else ""
        raise fault(path, f"is no {into.DESCRIPTOR.full_name} in proto JSON{more}") from None
