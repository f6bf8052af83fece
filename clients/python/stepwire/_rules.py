"""What a message has to be, in the server's words, for conversations that the server does not know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from stepwire import _values, errors
from stepwire.v1 import message_pb2

ROLES = ("system", "user", "assistant", "tool")

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TOOL_ID_CHARACTERS = 4096


def check(message: message_pb2.Message, place: str = "messages[0]") -> None:
    """Refuse what the server would refuse, except for its size.

    Raises:
        errors.InvalidRequest: `violations` says where.
    """
    check_id(f"{place}.id", message.id)
    check_id(f"{place}.parent_id", message.parent_id)
    if message.role not in ROLES:
        refuse(f"{place}.role", f"`{message.role[:64]}` is no role; roles are {', '.join(ROLES)}")
    _check_text(f"{place}.text", message.text)
    if message.HasField("tool_use"):
        _check_tool_id(f"{place}.tool_use.tool_id", message.tool_use.tool_id)
        _check_text(f"{place}.tool_use.name", message.tool_use.name, is_needed=True)
        _check_json(f"{place}.tool_use.input", _values.from_struct(message.tool_use.input), "INVALID_MESSAGE")
    if message.HasField("tool_result"):
        _check_tool_id(f"{place}.tool_result.tool_id", message.tool_result.tool_id)
        _check_text(f"{place}.tool_result.result", message.tool_result.result)
    check_metadata(f"{place}.metadata", _values.from_struct(message.metadata))
    contents = [bool(message.text or message.images), message.HasField("tool_use"), message.HasField("tool_result")]
    if sum(contents) > 1:
        refuse(place, "has more than one of text or images, tool_use and tool_result: send a message for each")
    if not (any(contents) or message.HasField("reasoning")):
        refuse(place, "has no content: set text, images, tool_use or tool_result")
    if message.parent_id and message.parent_id == message.id:
        refuse(f"{place}.parent_id", f"`{message.id}` cannot be its own parent")


def check_id(path: str, value: str, *, is_needed: bool = False) -> None:
    """Refuse what is no id."""
    if not value and is_needed:
        refuse(path, "is needed", "FIELD_REQUIRED")
    if value and not _ID.fullmatch(value):
        refuse(path, "must be 1 to 128 of A-Z a-z 0-9 . _ : -", "FIELD_INVALID")


def _check_tool_id(path: str, value: str) -> None:
    if not value:
        refuse(path, "is needed", "FIELD_REQUIRED")
    if len(value) > _TOOL_ID_CHARACTERS or not (value.isascii() and value.isprintable()):
        refuse(path, f"must be 1 to {_TOOL_ID_CHARACTERS} printable ASCII characters", "FIELD_INVALID")


def check_metadata(path: str, value: Mapping[str, Any]) -> None:
    """Refuse what cannot be kept."""
    _check_json(path, value, "INVALID_METADATA")


def refuse(path: str, why: str, reason: str = "INVALID_MESSAGE") -> NoReturn:
    """Fail as the server does."""
    violation = errors.Violation(path, why, reason)
    raise errors.InvalidRequest(f"{path}: {why}", code="INVALID_ARGUMENT", reason=reason, violations=[violation])


def _check_text(path: str, text: str, reason: str = "FIELD_INVALID", *, is_needed: bool = False) -> None:
    if not text and is_needed:
        refuse(path, "is needed", "FIELD_REQUIRED")
    if "\0" in text:
        refuse(path, "has a NUL character", reason)


def _check_json(path: str, value: object, reason: str) -> None:
    match value:
        case str():
            _check_text(path, value, reason)
        case Mapping():
            for key, item in value.items():
                if "\0" in key:
                    refuse(path, "a key has a NUL character", reason)
                _check_json(f"{path}.{key}", item, reason)
        case list():
            for index, item in enumerate(value):
                _check_json(f"{path}[{index}]", item, reason)
