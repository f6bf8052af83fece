"""Messages of conversations, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from google.protobuf import json_format

from stepwire.v1 import message_pb2
from stepwired.chat_checks import TOOL_NAME_BYTES, check_inline_images, check_texts_together
from stepwired.conversation import check_messages, role_named
from stepwired.errors import Reason
from stepwired.events import Json, Message, MessageStatus, Reasoning, Role, ToolResult, ToolUse
from stepwired.limits import Limits
from stepwired.rpc.convert.images import images, inline_bytes
from stepwired.rpc.convert.values import metadata_of, nanoseconds, read_json
from stepwired.store.codec.messages import message_proto
from stepwired.store.codec.replies import usage_proto
from stepwired.violations import Faults, ordered, utf8_bytes

__all__ = ["message", "message_json", "messages", "tool_result", "usage_proto"]

_TOOL_TYPE_BYTES = 128
_PROVIDER_BYTES = 128

_STATUS = {
    MessageStatus.COMPLETE: message_pb2.MESSAGE_STATUS_COMPLETE,
    MessageStatus.INTERRUPTED: message_pb2.MESSAGE_STATUS_INTERRUPTED,
}


def messages(path: str, given: Sequence[message_pb2.Message], limits: Limits, faults: Faults) -> tuple[Message, ...]:
    """Read messages, oldest first, and check each and all of them together."""
    if not faults.count(path, len(given), limits.append_messages):
        return ()
    one = Faults()
    one.json_values = faults.json_values
    read = tuple(message(f"{path}[{index}]", item, limits, one) for index, item in enumerate(given))
    if one.found:
        # What is wrong with a part would be reported twice if the whole were checked for content as well.
        faulty = {violation.field.partition(".")[0] for violation in one.found}
        both = [*one.found, *(found for found in check_messages(read, path) if found.field not in faulty)]
        faults.found += ordered(both, [f"{path}[{index}]" for index in range(len(given))])
    else:
        faults.found += check_messages(read, path)
    faults.json_values = one.json_values
    size = sum(_text_bytes(item) for item in read)
    check_texts_together(path, size, limits, faults)
    check_inline_images(path, inline_bytes(image for item in read for image in item.images), limits, faults)
    return read


def message(path: str, given: message_pb2.Message, limits: Limits, faults: Faults) -> Message:
    """Read one message. What the server sets, status and update time, is ignored."""
    faults.id(f"{path}.id", given.id)
    faults.id(f"{path}.parent_id", given.parent_id)
    create_time_ns = 0
    if given.HasField("create_time"):
        create_time_ns = nanoseconds(f"{path}.create_time", given.create_time, faults)
    metadata = metadata_of(f"{path}.metadata", given.metadata, limits, faults) if given.HasField("metadata") else {}
    has_use, has_result = given.HasField("tool_use"), given.HasField("tool_result")
    role = _role(path, given.role, faults, tool_use=has_use, tool_result=has_result)
    faults.text(f"{path}.text", given.text, limits.message_text_bytes)
    return Message(
        role=role,
        text=given.text,
        images=images(f"{path}.images", given.images, limits, faults),
        reasoning=_reasoning(f"{path}.reasoning", given.reasoning, limits, faults)
        if given.HasField("reasoning")
        else None,
        tool_use=_tool_use(f"{path}.tool_use", given.tool_use, limits, faults) if has_use else None,
        tool_result=tool_result(f"{path}.tool_result", given.tool_result, limits, faults) if has_result else None,
        metadata=metadata,
        id=given.id,
        parent_id=given.parent_id,
        create_time_ns=create_time_ns,
    )


def message_json(message: Message) -> Json:
    """Show a message as functions see it: the proto JSON of `stepwire.v1.Message`."""
    # Ours instead of what a Struct gives back: no order, and every number a double.
    use = replace(message.tool_use, input={}) if message.tool_use else None
    bare = replace(message, metadata={}, tool_use=use)
    seen = cast("dict[str, Json]", json_format.MessageToDict(message_proto(bare)))
    if message.metadata:
        seen["metadata"] = dict(message.metadata)
    if message.tool_use is not None:
        cast("dict[str, Json]", seen["toolUse"])["input"] = dict(message.tool_use.input)
    return seen


def _role(path: str, name: str, faults: Faults, *, tool_use: bool, tool_result: bool) -> Role:
    role = role_named(name, tool_use=tool_use, tool_result=tool_result)
    if role is None:
        text = f"`{name[:64]}` is no role; roles are {', '.join(Role)}"
        faults.add(f"{path}.role", text, Reason.INVALID_MESSAGE)
        return Role.USER
    if tool_use and not tool_result and role is not Role.ASSISTANT:
        faults.add(f"{path}.role", "must be assistant, or empty, beside a tool_use", Reason.INVALID_MESSAGE)
    if tool_result and not tool_use and role is not Role.TOOL:
        faults.add(f"{path}.role", "must be tool, or empty, beside a tool_result", Reason.INVALID_MESSAGE)
    return role


def _reasoning(path: str, given: message_pb2.Reasoning, limits: Limits, faults: Faults) -> Reasoning:
    faults.text(f"{path}.text", given.text, limits.message_text_bytes)
    if len(given.signature) > limits.message_text_bytes:
        faults.add(
            f"{path}.signature", f"has {len(given.signature)} bytes, and the limit is {limits.message_text_bytes}"
        )
    faults.text(f"{path}.provider", given.provider, _PROVIDER_BYTES)
    return Reasoning(given.text, given.signature, given.provider)


def _tool_use(path: str, given: message_pb2.ToolUse, limits: Limits, faults: Faults) -> ToolUse:
    faults.tool_id(f"{path}.tool_id", given.tool_id)
    faults.text(f"{path}.name", given.name, TOOL_NAME_BYTES, required=True)
    bad, most_bytes = Reason.INVALID_MESSAGE, limits.tool_input_bytes + limits.tool_input_bytes // 2
    arguments = read_json(f"{path}.input", given.input, most_bytes, limits, faults, bad)
    faults.json(f"{path}.input", arguments, limits.tool_input_bytes, limits, bad)
    faults.text(f"{path}.tool_type", given.tool_type, _TOOL_TYPE_BYTES)
    return ToolUse(given.tool_id, given.name, cast("dict[str, Json]", arguments or {}), given.tool_type or "function")


def tool_result(path: str, given: message_pb2.ToolResult, limits: Limits, faults: Faults) -> ToolResult:
    """Read what a tool answered."""
    faults.tool_id(f"{path}.tool_id", given.tool_id)
    faults.text(f"{path}.result", given.result, limits.message_text_bytes)
    return ToolResult(given.tool_id, given.result, given.is_error)


def _text_bytes(item: Message) -> int:
    return utf8_bytes(item.text) + (utf8_bytes(item.tool_result.result) if item.tool_result else 0)
