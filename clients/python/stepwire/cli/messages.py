"""How the command shows one message."""

from __future__ import annotations

from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from stepwire import Message
from stepwire._texts import arguments
from stepwire.v1.message_pb2 import MESSAGE_STATUS_INTERRUPTED


def content(message: Message) -> str:
    """Say what the message says, shows or does."""
    if message.HasField("tool_use"):
        return f"uses {message.tool_use.name} {arguments(message.tool_use)}"
    if message.HasField("tool_result"):
        return message.tool_result.result
    pictures = [f"[{picture.name or picture.uri or picture.media_type or 'picture'}]" for picture in message.images]
    return " ".join([message.text, *pictures]).strip()


def marks(message: Message) -> list[str]:
    """List what a reader should know beside the content."""
    found = ["cut off"] if message.status == MESSAGE_STATUS_INTERRUPTED else []
    if "hidden" in message.metadata.fields and message.metadata.fields["hidden"].bool_value:
        found.append("hidden from models")
    return found


def counted(messages: int) -> str:
    """Say how many messages there are."""
    return f"{messages} message{'' if messages == 1 else 's'}"


def local_time(time: Timestamp) -> str:
    """Write a time as the clock on the wall shows it."""
    return f"{time.ToDatetime(tzinfo=UTC).astimezone():%Y-%m-%d %H:%M}"
