"""Messages, as `stepwire.v1` writes them."""

from __future__ import annotations

from stepwire.v1 import message_pb2
from stepwired.events import Image, Message, MessageStatus, Reasoning, Role, ToolResult, ToolUse
from stepwired.store.codec.values import fill_struct, json_of_struct, nanoseconds, timestamp

_STATUS_TO_WIRE = {
    MessageStatus.COMPLETE: message_pb2.MESSAGE_STATUS_COMPLETE,
    MessageStatus.INTERRUPTED: message_pb2.MESSAGE_STATUS_INTERRUPTED,
}
_STATUS_FROM_WIRE = {wire: status for status, wire in _STATUS_TO_WIRE.items()}
_ROLES = {role.value: role for role in Role}


def message_proto(message: Message) -> message_pb2.Message:
    """Write a message.

    Raises:
        Unstorable: Its metadata or its tool's input holds what could not be read back.
        UnicodeEncodeError: A text is none that UTF-8 can say.
    """
    wire = message_pb2.Message(
        id=message.id,
        parent_id=message.parent_id,
        create_time=timestamp(message.create_time_ns),
        update_time=timestamp(message.update_time_ns),
        status=_STATUS_TO_WIRE[message.status],
        role=message.role.value,
        text=message.text,
        images=map(image_proto, message.images),
    )
    if thoughts := message.reasoning:
        wire.reasoning.text = thoughts.text
        wire.reasoning.signature = thoughts.signature
        wire.reasoning.provider = thoughts.provider
        wire.reasoning.SetInParent()
    if use := message.tool_use:
        fill_tool_use(wire.tool_use, use)
    if result := message.tool_result:
        wire.tool_result.tool_id = result.tool_id
        wire.tool_result.result = result.result
        wire.tool_result.is_error = result.is_error
        wire.tool_result.SetInParent()
    if message.metadata:
        fill_struct(wire.metadata, message.metadata, "metadata")
    return wire


def fill_tool_use(wire: message_pb2.ToolUse, use: ToolUse) -> None:
    """Write a tool use into `wire`, which is empty; raises as `message_proto`."""
    wire.tool_id = use.tool_id
    wire.name = use.name
    wire.tool_type = use.tool_type
    fill_struct(wire.input, use.input, "tool_use.input")


def message_of(wire: message_pb2.Message) -> Message | None:
    """Read a message that was written here; None if a later version wrote what this one does not know."""
    role, status = _ROLES.get(wire.role), _STATUS_FROM_WIRE.get(wire.status)
    if role is None or status is None:
        return None
    thoughts = use = result = None
    if wire.HasField("reasoning"):
        thoughts = Reasoning(wire.reasoning.text, wire.reasoning.signature, wire.reasoning.provider)
    if wire.HasField("tool_use"):
        use = ToolUse(
            wire.tool_use.tool_id, wire.tool_use.name, json_of_struct(wire.tool_use.input), wire.tool_use.tool_type
        )
    if wire.HasField("tool_result"):
        result = ToolResult(wire.tool_result.tool_id, wire.tool_result.result, wire.tool_result.is_error)
    return Message(
        role=role,
        text=wire.text,
        reasoning=thoughts,
        tool_use=use,
        tool_result=result,
        images=tuple(map(_image_of, wire.images)),
        metadata=json_of_struct(wire.metadata) if wire.HasField("metadata") else {},
        status=status,
        id=wire.id,
        parent_id=wire.parent_id,
        create_time_ns=nanoseconds(wire.create_time),
        update_time_ns=nanoseconds(wire.update_time),
    )


def image_proto(image: Image) -> message_pb2.Image:
    """Write one picture: its bytes if they are at hand, else where it is."""
    wire = message_pb2.Image(
        fetch=image.fetch,
        name=image.name,
        media_type=image.media_type,
        detail=image.detail,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
    )
    if image.data:
        wire.data = image.data
    elif image.blob_id:
        wire.blob_id = image.blob_id
    elif image.uri:
        wire.uri = image.uri
    elif image.server_path:
        wire.server_path = image.server_path
    return wire


def _image_of(wire: message_pb2.Image) -> Image:
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
