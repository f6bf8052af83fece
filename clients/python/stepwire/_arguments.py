"""What may be said of a message that is added to a conversation, and of a reply that is asked for in one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypedDict

from stepwire import _requests, _values
from stepwire._asking import FormatLike
from stepwire._requests import OptionsLike
from stepwire._tools import ToolLike
from stepwire.v1 import message_pb2


class MessageOptions(TypedDict, total=False):
    """What may be said of any message that is added."""

    metadata: dict[str, Any]
    """Anything JSON. `{"hidden": True}` keeps the message from models."""

    parent_id: str
    """The message that this one follows. Default: the head."""

    time: datetime | str
    """When it was made: a time with its zone, or a text such as `2024-01-01T00:00:00Z`. Default: now."""

    message_id: str
    """Its id: 1 to 128 of `A-Z a-z 0-9 . _ : -`. Default: a new UUID."""


class ChatArguments(TypedDict, total=False):
    """What may be said of a reply that is asked for."""

    model: str
    """Name or alias of a model. Default: the server's."""

    system: str
    """What the model is told before everything else; not kept."""

    parent_id: str
    """The message to continue from. Default: the head."""

    options: OptionsLike
    """How to answer."""

    tools: Iterable[ToolLike]
    """What the model may ask for: functions of this program, names of steps of the server, or JSON as of `Tool`."""

    response_format: FormatLike
    """What the reply has to look like: a JSON Schema, a type that stands for one, or `"json"`."""

    request_id: str
    """Makes the call safe to repeat."""

    provider_key: str
    """Your own key for the provider, where the server asks for its callers' keys."""

    max_tool_turns: int
    """How often functions are called for. Default: 8."""

    timeout_s: float
    """Seconds until it fails with `DeadlineExceeded`."""


def message(options: MessageOptions, **content: Any) -> message_pb2.Message:
    """Make a message of its content and what else is said of it.

    Raises:
        TypeError: There is no such option.
        errors.InvalidRequest: No message can carry it.
    """
    if unknown := options.keys() - MessageOptions.__annotations__.keys():
        raise TypeError(f"a message has no option {', '.join(sorted(unknown))}")
    metadata = options.get("metadata")
    with _requests.checked():
        return message_pb2.Message(
            id=options.get("message_id", ""),
            parent_id=options.get("parent_id", ""),
            metadata=None if metadata is None else _values.to_struct(metadata),
            create_time=_requests.timestamp(options.get("time")),
            **content,
        )
