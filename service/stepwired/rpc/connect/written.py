"""Turns JSON into messages and messages into JSON, so that none of it keeps other threads from running for long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from stepwired.errors import InvalidRequest, Reason
from stepwired.jsonvalue import has_more_values
from stepwired.limits import KIB

#: The library looks through texts for halves of characters at 17 ns a byte, and no other thread runs meanwhile.
_LARGE_TEXT_CHARACTERS: Final = 128 * KIB

_UNKNOWN = re.compile(r'Message type "([\w.]+)" has no field named "(.*?)" at "([\w.\[\]]*)"', re.DOTALL)
_AT = re.compile(r" at \w++\.?([\w.\[\]]*?)\.*$")
_KEY_CHARACTERS = 64
_SAID_CHARACTERS = 2000

#: The package whose messages have a form of their own in JSON.
_AS_WRITTEN: Final = "google.protobuf"

#: Written bit by bit: what C does of it in one go, an object or a list with all that is in it, holds up everybody.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

#: Names of fields, places in lists and keys, from a message to something in it.
_Steps = tuple[str | int, ...]


def written(message: Message, *, is_large: bool) -> bytes:
    """Write a message as JSON.

    Args:
        message: It.
        is_large: Whether other threads have to run meanwhile, for three times the price.
    """
    value = json_format.MessageToDict(message)
    return ("".join(_ENCODER.iterencode(value)) if is_large else _ENCODER.encode(value)).encode()


def parsed(raw: bytes, kind: type[Message], most_values: int) -> Message | InvalidRequest:
    """Read JSON strictly: a name that is no field's is a mistake that would else pass in silence."""
    if raw.lstrip()[:1] != b"{":
        return _malformed("the request is no JSON object")
    if has_more_values(raw, most_values):
        return _malformed(f"the request is JSON of more than {most_values} values; gRPC and protobuf take more")
    message = kind()
    try:
        if len(raw) <= _LARGE_TEXT_CHARACTERS:
            json_format.Parse(raw.decode(), message)
        else:
            _parse_large(raw.decode(), message)
    except UnicodeDecodeError:
        return _malformed("the request is JSON that is not UTF-8")
    except (json_format.ParseError, ValueError, OverflowError, RecursionError) as error:
        return _fault(str(error))
    return message


def _parse_large(text: str, message: Message) -> None:
    """As the library does, but put the large texts where they belong ourselves."""
    try:
        given = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise json_format.ParseError(f"Failed to load JSON: {error}") from None
    texts = list(_taken(given, message.DESCRIPTOR))
    json_format.ParseDict(given, message)
    for steps, large in texts:
        try:
            _put(message, steps, large)
        except UnicodeEncodeError:
            at = ".".join(map(str, steps))
            raise json_format.ParseError(f"half a character at {message.DESCRIPTOR.name}.{at}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("duplicate key")
    return made


def _taken(given: dict[str, Any], kind: Any, steps: _Steps = ()) -> Iterator[tuple[_Steps, str]]:
    """Take the large texts out of what was given for a message, and leave empty ones in their place.

    Returns:
        Where each was, seen from the whole message.
    """
    for key in given:
        field = kind.fields_by_camelcase_name.get(key) or kind.fields_by_name.get(key)
        if field is None:
            continue
        of = field
        if (within := field.message_type) is not None and within.GetOptions().map_entry:
            of = within.fields_by_name["value"]
        kind_within = of.message_type
        for container, name, at in _slots(given, key, (*steps, field.name), is_map=of is not field):
            value = container[name]
            if isinstance(value, str):
                if of.type == FieldDescriptor.TYPE_STRING and len(value) > _LARGE_TEXT_CHARACTERS:
                    container[name] = ""
                    yield at, value
            elif isinstance(value, dict) and kind_within is not None and kind_within.file.package != _AS_WRITTEN:
                yield from _taken(value, kind_within, at)


def _slots(given: dict[str, Any], key: str, at: _Steps, *, is_map: bool) -> Iterator[tuple[Any, Any, _Steps]]:
    """Where the values of a field are: what holds each, under which name, and the steps there."""
    value = given[key]
    if isinstance(value, list):
        for index in range(len(value)):
            yield value, index, (*at, index)
    elif is_map and isinstance(value, dict):
        for name in value:
            yield value, name, (*at, name)
    else:
        yield given, key, at


def _put(message: Any, steps: _Steps, text: str) -> None:
    *way, last = steps
    for step in way:
        message = getattr(message, str(step)) if isinstance(message, Message) else message[step]
    if isinstance(message, Message):
        setattr(message, str(last), text)
    else:
        message[last] = text


def _fault(said: str) -> InvalidRequest:
    """Put what the library says about JSON without what it quotes of the request, names of fields aside."""
    if len(said) > 2 * _SAID_CHARACTERS:  # with all that the request says; what is looked for is at both ends
        said = said[:_SAID_CHARACTERS] + said[-_SAID_CHARACTERS:]
    if unknown := _UNKNOWN.search(said):
        kind, given, at = unknown.groups()
        name = given[:_KEY_CHARACTERS]
        path = ".".join(part for part in (at.partition(".")[2], name) if part)
        return _malformed(f"{path}: {kind} has no such field", path)
    if "duplicate key" in said:
        return _malformed("the request is JSON with a key that is there twice")
    if said.startswith("Failed to load JSON"):
        where = re.search(r"line \d+ column \d+", said)
        return _malformed("the request is no JSON" + (f", at {where.group()}" if where else ""))
    if "Message too deep" in said:
        return _malformed("the request is JSON that is nested too deep")
    path = found.group(1) if (found := _AT.search(said)) else ""
    path = path or ".".join(re.findall(r"Failed to parse (\w+) field", said))
    return _malformed(f"{path or 'the request'}: the value is not of the field's type", path)


def _malformed(message: str, path: str = "") -> InvalidRequest:
    return InvalidRequest(Reason.MALFORMED_REQUEST, message, metadata={"path": path} if path else {})
