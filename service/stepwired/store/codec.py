"""Turns messages and conversations to the `stepwire.v1` bytes that are stored, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from stepwire.v1 import conversation_pb2, message_pb2
from stepwired.conversation import Conversation
from stepwired.errors import Broken, Misconfigured, Reason, Subject
from stepwired.events import (
    MAX_SAFE_INTEGER,
    Image,
    Json,
    Message,
    MessageStatus,
    Reasoning,
    Role,
    ToolResult,
    ToolUse,
)
from stepwired.jsonvalue import text_fault

#: Lists and objects that may lie inside each other: protobuf refuses to read a Struct somewhat deeper.
MAX_DEPTH = 32

_NS = 1_000_000_000
_STATUS_TO_WIRE = {
    MessageStatus.COMPLETE: message_pb2.MESSAGE_STATUS_COMPLETE,
    MessageStatus.INTERRUPTED: message_pb2.MESSAGE_STATUS_INTERRUPTED,
}
_STATUS_FROM_WIRE = {wire: status for status, wire in _STATUS_TO_WIRE.items()}
_Wire = message_pb2.Message | conversation_pb2.Conversation | conversation_pb2.AppendMessagesResponse
_HALF = "has half a surrogate pair, which UTF-8 cannot say"
_ROLES = {role.value: role for role in Role}


class Unstorable(ValueError):
    """What was to be stored could not be read back: text that UTF-8 cannot say, or JSON that some reader refuses.

    Attributes:
        part: Such as `tool_use.input`; empty if it may be any text.
        why: What is wrong with it.
    """

    def __init__(self, part: str, why: str) -> None:
        super().__init__(f"{part} {why}" if part else why)
        self.part, self.why = part, why


def encode_message(message: Message) -> bytes:
    """Serialize a message, complete with id, parent and times.

    Raises:
        Unstorable: It could not be read back.
    """
    return message_proto(message).SerializeToString(deterministic=True)


def message_proto(message: Message) -> message_pb2.Message:
    """Write a message.

    Raises:
        Unstorable: It could not be read back.
    """
    try:
        wire = message_pb2.Message(
            id=message.id,
            parent_id=message.parent_id,
            create_time=_timestamp(message.create_time_ns),
            update_time=_timestamp(message.update_time_ns),
            status=_STATUS_TO_WIRE[message.status],
            role=message.role.value,
            text=message.text,
            images=map(_image, message.images),
        )
        if thoughts := message.reasoning:
            wire.reasoning.text = thoughts.text
            wire.reasoning.signature = thoughts.signature
            wire.reasoning.provider = thoughts.provider
            wire.reasoning.SetInParent()
        if use := message.tool_use:
            wire.tool_use.tool_id = use.tool_id
            wire.tool_use.name = use.name
            wire.tool_use.tool_type = use.tool_type
            _fill_struct(wire.tool_use.input, use.input, "tool_use.input")
        if result := message.tool_result:
            wire.tool_result.tool_id = result.tool_id
            wire.tool_result.result = result.result
            wire.tool_result.is_error = result.is_error
            wire.tool_result.SetInParent()
    except UnicodeEncodeError:
        raise Unstorable("", _HALF) from None
    if message.metadata:
        _fill_struct(wire.metadata, message.metadata, "metadata")
    return wire


def decode_message(body: bytes) -> Message:
    """Read a message back.

    Raises:
        Broken: STORE_CORRUPT, the bytes are no message.
        Misconfigured: STORE_VERSION_UNSUPPORTED, a later version wrote something that this one does not know.
    """
    wire = message_pb2.Message()
    _parse(wire, body, "message")
    role, status = _ROLES.get(wire.role), _STATUS_FROM_WIRE.get(wire.status)
    if role is None or status is None:
        raise _too_new(wire.id)
    thoughts = use = result = None
    if wire.HasField("reasoning"):
        thoughts = Reasoning(wire.reasoning.text, wire.reasoning.signature, wire.reasoning.provider)
    if wire.HasField("tool_use"):
        use = ToolUse(wire.tool_use.tool_id, wire.tool_use.name, _json(wire.tool_use.input), wire.tool_use.tool_type)
    if wire.HasField("tool_result"):
        result = ToolResult(wire.tool_result.tool_id, wire.tool_result.result, wire.tool_result.is_error)
    return Message(
        role=role,
        text=wire.text,
        reasoning=thoughts,
        tool_use=use,
        tool_result=result,
        images=tuple(map(_read_image, wire.images)),
        metadata=_json(wire.metadata) if wire.HasField("metadata") else {},
        status=status,
        id=wire.id,
        parent_id=wire.parent_id,
        create_time_ns=_nanoseconds(wire.create_time),
        update_time_ns=_nanoseconds(wire.update_time),
    )


def searchable_text(body: bytes) -> str:
    """The text of a stored message that a search goes through: what is said, or what a tool answered.

    What it says of a body may never change without a migration: a message is taken out of the index by its words.

    Raises:
        Broken: STORE_CORRUPT, the bytes are no message.
    """
    wire = message_pb2.Message()
    _parse(wire, body, "message")
    return wire.text or wire.tool_result.result


def encode_conversation(conversation: Conversation) -> bytes:
    """Serialize what seldom changes of a conversation: id, title, metadata, creation.

    Raises:
        Unstorable: It could not be read back.
    """
    try:
        wire = conversation_pb2.Conversation(
            id=conversation.id, title=conversation.title, create_time=_timestamp(conversation.create_time_ns)
        )
    except UnicodeEncodeError:
        raise Unstorable("title", _HALF) from None
    if conversation.metadata:
        _fill_struct(wire.metadata, conversation.metadata, "metadata")
    return wire.SerializeToString(deterministic=True)


def decode_conversation(
    body: bytes, *, head_id: str, revision: int, message_count: int, update_time_ns: int
) -> Conversation:
    """Read a conversation back; what often changes is stored beside the bytes.

    Raises:
        Broken: STORE_CORRUPT, the bytes are no conversation.
    """
    wire = conversation_pb2.Conversation()
    _parse(wire, body, "conversation")
    return replace(
        _conversation(wire),
        head_id=head_id,
        revision=revision,
        message_count=message_count,
        update_time_ns=update_time_ns,
    )


def encode_answer(conversation: Conversation, ids: Sequence[str] = ()) -> bytes:
    """Serialize a conversation with all that it says, and ids of messages."""
    wire = conversation_pb2.AppendMessagesResponse(message_ids=ids)
    wire.conversation.MergeFromString(encode_conversation(conversation))
    wire.conversation.head_id = conversation.head_id
    wire.conversation.revision = conversation.revision
    wire.conversation.message_count = conversation.message_count
    wire.conversation.update_time.CopyFrom(_timestamp(conversation.update_time_ns))
    return wire.SerializeToString(deterministic=True)


def decode_answer(body: bytes) -> tuple[Conversation, tuple[str, ...]]:
    """Read back what `encode_answer` made.

    Raises:
        Broken: STORE_CORRUPT, the bytes are no answer.
    """
    wire = conversation_pb2.AppendMessagesResponse()
    _parse(wire, body, "answer")
    return _conversation(wire.conversation), tuple(wire.message_ids)


def _conversation(wire: conversation_pb2.Conversation) -> Conversation:
    return Conversation(
        id=wire.id,
        title=wire.title,
        head_id=wire.head_id,
        revision=wire.revision,
        metadata=_json(wire.metadata) if wire.HasField("metadata") else {},
        create_time_ns=_nanoseconds(wire.create_time),
        update_time_ns=_nanoseconds(wire.update_time),
        message_count=wire.message_count,
    )


def _image(image: Image) -> message_pb2.Image:
    if image.data or image.server_path:
        raise ValueError("a store takes pictures by `uri` or `blob_id`")
    wire = message_pb2.Image(
        name=image.name,
        media_type=image.media_type,
        detail=image.detail,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
    )
    if image.blob_id:
        wire.blob_id = image.blob_id
    else:
        wire.uri = image.uri
    return wire


def _read_image(wire: message_pb2.Image) -> Image:
    return Image(
        uri=wire.uri,
        blob_id=wire.blob_id,
        name=wire.name,
        media_type=wire.media_type,
        detail=wire.detail,
        width=wire.width,
        height=wire.height,
        size_bytes=wire.size_bytes,
    )


def _parse(wire: _Wire, body: bytes, kind: str) -> None:
    try:
        wire.ParseFromString(body)
    except DecodeError:
        text = f"a stored {kind} cannot be read: the store is damaged; restore it from a backup"
        raise Broken(Reason.STORE_CORRUPT, text, subject=Subject("store", kind)) from None


def _too_new(message_id: str) -> Misconfigured:
    text = f"message `{message_id}` was stored by a later version of this program: run that one"
    return Misconfigured(Reason.STORE_VERSION_UNSUPPORTED, text, subject=Subject("message", message_id))


def _timestamp(time_ns: int) -> Timestamp:
    seconds, nanos = divmod(time_ns, _NS)
    return Timestamp(seconds=seconds, nanos=nanos)


def _nanoseconds(time: Timestamp) -> int:
    return time.seconds * _NS + time.nanos


# JSON by hand: several times as fast as the generic conversion, and integral numbers come back as int. It is checked
# on the way, at next to no cost, by the rules of `jsonvalue.fault`: what is serialized can be parsed again.


def _json(wire: Struct) -> dict[str, Json]:
    return {key: _value(item) for key, item in wire.fields.items()}


def _value(wire: Value) -> Json:
    kind = wire.WhichOneof("kind")
    if kind == "number_value":
        number = wire.number_value
        return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER else number
    if kind == "struct_value":
        return _json(wire.struct_value)
    if kind == "list_value":
        return [_value(item) for item in wire.list_value.values]
    plain: Any = getattr(wire, kind) if kind and kind != "null_value" else None
    return plain  # type: ignore[no-any-return]


def _fill_struct(wire: Struct, value: Mapping[str, Json], part: str) -> None:
    wire.SetInParent()
    try:
        for key, item in value.items():
            _fill(_field(wire, key), item, MAX_DEPTH - 1)
    except ValueError as error:
        raise Unstorable(part, str(error)) from None


def _fill(wire: Value, value: Json, depth: int) -> None:
    if value is None:
        wire.null_value = 0  # type: ignore[assignment]  # the only value of its enum
    elif isinstance(value, bool):
        wire.bool_value = value
    elif isinstance(value, int | float):
        if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:  # nor is NaN
            raise ValueError("has a number that is not finite, or so large that it loses digits")
        wire.number_value = value
    elif isinstance(value, str):
        _check_text(value)
        wire.string_value = value
    elif depth == 0:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}")
    elif isinstance(value, Mapping):
        wire.struct_value.SetInParent()
        for key, item in value.items():
            _fill(_field(wire.struct_value, key), item, depth - 1)
    else:
        wire.list_value.SetInParent()
        for item in value:
            _fill(wire.list_value.values.add(), item, depth - 1)


def _field(wire: Struct, key: str) -> Value:
    _check_text(key)
    return wire.fields[key]


def _check_text(text: str) -> None:
    if why := text_fault(text):
        raise ValueError(f"has a text that {why}")
