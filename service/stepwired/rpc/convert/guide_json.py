"""Messages as the guide to the JavaScript API shows them.

What it cannot say is lost: reasoning, the status, and whether a tool failed.
"""

from __future__ import annotations

from typing import Any

from stepwire.v1 import message_pb2
from stepwired.events import Json, Message
from stepwired.rpc.convert.file_values import Fields, Url, fault, picture, time_text

CHAT, TOOL_USE, TOOL_RESULT = "chat-message", "tool-use", "tool-result"
TYPES = frozenset({CHAT, TOOL_USE, TOOL_RESULT})


def guide_object(message: Message, url: Url) -> dict[str, Json]:
    """Write one message.

    Args:
        message: As stored.
        url: Writes the address of each picture.
    """
    written: dict[str, Json] = {
        "id": message.id,
        "parentID": message.parent_id,
        "time": time_text(message.create_time_ns),
        "lastUpdate": time_text(message.update_time_ns),
        "metadata": dict(message.metadata),
    }
    if use := message.tool_use:
        return written | {
            "type": TOOL_USE,
            "toolID": use.tool_id,
            "name": use.name,
            "input": dict(use.input),
            "toolType": use.tool_type,
        }
    if result := message.tool_result:
        return written | {"type": TOOL_RESULT, "toolID": result.tool_id, "result": result.result}
    written |= {"type": CHAT, "role": message.role.value, "text": message.text}
    if message.images:
        written["images"] = [
            {"imageURL": url(image), "imageName": image.name, "mediaType": image.media_type, "detail": image.detail}
            for image in message.images
        ]
    return written


def of_guide_object(path: str, value: Any) -> message_pb2.Message:
    """Read one message. Fields that the guide does not know are ignored.

    Raises:
        InvalidRequest: INVALID_CONVERSATION, it is none.
    """
    fields = Fields(path, value)
    written = message_pb2.Message(
        id=fields.text("id"),
        parent_id=fields.text("parentID"),
        create_time=fields.time("time"),
        update_time=fields.time("lastUpdate"),
    )
    if fields.has("metadata"):
        written.metadata.CopyFrom(fields.struct("metadata"))
    match fields.text("type"):
        case "tool-use":
            written.tool_use.CopyFrom(
                message_pb2.ToolUse(
                    tool_id=fields.text("toolID"),
                    name=fields.text("name"),
                    input=fields.struct("input"),
                    tool_type=fields.text("toolType"),
                )
            )
        case "tool-result":
            written.tool_result.CopyFrom(
                message_pb2.ToolResult(tool_id=fields.text("toolID"), result=fields.text("result"))
            )
        case "chat-message":
            written.role, written.text = fields.text("role"), fields.text("text")
            for index, item in enumerate(fields.items("images")):
                written.images.append(_image(f"{path}.images[{index}]", item))
        case other:
            raise fault(f"{path}.type", f"`{other[:64]}` must be one of {', '.join(sorted(TYPES))}")
    return written


def _image(path: str, value: Any) -> message_pb2.Image:
    fields = Fields(path, value)
    written = picture(f"{path}.imageURL", fields.text("imageURL"))
    written.name, written.media_type = fields.text("imageName"), fields.text("mediaType")
    written.detail = fields.text("detail")
    return written
