"""Finds the place where JSON is not what a message of the wire says: protobuf names it only now and then."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def fault_in(value: Any, kind: type[Message], path: str) -> tuple[str, str] | None:
    """Find the first thing in `value` that is not as the JSON of a message.

    Args:
        value: What was written.
        kind: The message.
        path: Where `value` stands.

    Returns:
        Where the fault is, as in `steps[1].map.step`, and what is wrong; None if the message can be made.
    """
    descriptor: Any = kind.DESCRIPTOR  # one of two classes, as protobuf is built
    if not isinstance(value, Mapping):
        return path, f"is no object, as {descriptor.name} needs one"
    names = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    for key, given in value.items():
        if key not in names:
            return f"{path}.{key}", _unknown(key, descriptor)
        if given is not None and (found := _in_field(given, names[key], f"{path}.{key}")):
            return found
    return _refused(dict(value), kind, path)


def _in_field(given: Any, field: Any, path: str) -> tuple[str, str] | None:
    message = field.message_type
    if message is not None and message.file.package != "google.protobuf" and not message.GetOptions().map_entry:
        kind = GetMessageClass(message)
        if not field.is_repeated:
            return fault_in(given, kind, path)
        if not isinstance(given, list):
            return path, "is no list"
        found = (fault_in(each, kind, f"{path}[{index}]") for index, each in enumerate(given))
        return next(filter(None, found), None)
    if field.type == field.TYPE_STRING and not field.is_repeated and not isinstance(given, str):
        return path, f"is {json.dumps(given)[:64]} and no text: put it in quotes if it is meant as one"
    return _refused({field.name: given}, GetMessageClass(field.containing_type), path)


def _refused(value: dict[str, Any], kind: type[Message], path: str) -> tuple[str, str] | None:
    """What protobuf itself says of it."""
    try:
        json_format.ParseDict(value, kind())
    except (json_format.ParseError, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())
        # "Failed to parse count field: Couldn't parse integer: 1.5 at Step.take.count." says its place twice.
        said = re.sub(r"^(Failed to parse \w+ field: )+", "", said)
        said = re.sub(r'^Message type "[\w.]+" ', "", said)
        return path, re.sub(r' at "?[A-Z][\w.\[\]]*?"?\.*$', "", said).rstrip(".")
    return None


def _unknown(key: object, descriptor: Any) -> str:
    names = [field.name for field in descriptor.fields]
    near = difflib.get_close_matches(str(key), names, 1)
    return f"{descriptor.name} has no such field{f'; did you mean `{near[0]}`?' if near else ''}"
