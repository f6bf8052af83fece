"""Turns messages and conversations to the `stepwire.v1` bytes that are stored, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError

from stepwire.v1 import conversation_pb2, message_pb2
from stepwired.conversation import Conversation
from stepwired.errors import Broken, Misconfigured, Reason, Subject
from stepwired.events import Message
from stepwired.store.codec.messages import message_of, message_proto
from stepwired.store.codec.values import (
    MAX_DEPTH,
    Unstorable,
    fill_struct,
    json_of_struct,
    nanoseconds,
    timestamp,
)

__all__ = [
    "MAX_DEPTH",
    "Unstorable",
    "decode_answer",
    "decode_conversation",
    "decode_message",
    "encode_answer",
    "encode_conversation",
    "encode_message",
    "searchable_text",
]

_Wire = message_pb2.Message | conversation_pb2.Conversation | conversation_pb2.AppendMessagesResponse
_HALF = "has half a surrogate pair, which UTF-8 cannot say"


def encode_message(message: Message) -> bytes:
    """Serialize a message, complete with id, parent and times.

    Raises:
        Unstorable: It could not be read back.
    """
    if any(image.data or image.server_path for image in message.images):
        raise ValueError("a store takes pictures by `uri` or `blob_id`")
    try:
        return message_proto(message).SerializeToString(deterministic=True)
    except UnicodeEncodeError:
        raise Unstorable("", _HALF) from None


def decode_message(body: bytes) -> Message:
    """Read a message back.

    Raises:
        Broken: STORE_CORRUPT, the bytes are no message.
        Misconfigured: STORE_VERSION_UNSUPPORTED, a later version wrote something that this one does not know.
    """
    wire = message_pb2.Message()
    _parse(wire, body, "message")
    message = message_of(wire)
    if message is None:
        raise _too_new(wire.id)
    return message


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
            id=conversation.id, title=conversation.title, create_time=timestamp(conversation.create_time_ns)
        )
    except UnicodeEncodeError:
        raise Unstorable("title", _HALF) from None
    if conversation.metadata:
        fill_struct(wire.metadata, conversation.metadata, "metadata")
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
    wire.conversation.update_time.FromNanoseconds(conversation.update_time_ns)
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
        metadata=json_of_struct(wire.metadata) if wire.HasField("metadata") else {},
        create_time_ns=nanoseconds(wire.create_time),
        update_time_ns=nanoseconds(wire.update_time),
        message_count=wire.message_count,
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
