"""The rules on how a chat is asked for: one place for all forms that requests come in."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

import msgspec

from stepwired import jsonschemas
from stepwired.errors import Reason
from stepwired.events import Json, Tool
from stepwired.limits import KIB, Limits
from stepwired.violations import Faults, utf8_bytes

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
CHOICES = ("auto", "none", "required")
DETAILS = ("auto", "low", "high")

MODEL_BYTES = 256
MOST_INT32 = 2**31 - 1
TOOLS = 128
TOOL_NAME_BYTES = 128
SCHEMA_BYTES = 64 * KIB
URI_BYTES = 2048

#: What each number may be, its ends included.
RANGES: dict[str, tuple[int, int]] = {
    "temperature": (0, 2),
    "max_tokens": (1, MOST_INT32),
    "seed": (0, MOST_INT32),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "top_logprobs": (0, 20),
}

_STOP_TEXTS, _STOP_BYTES = 16, 256
_BIASES, _MOST_BIAS = 300, 100
_DESCRIPTION_BYTES = 8 * KIB
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BAD = Reason.MODEL_CONFIG_INVALID

_sorted = msgspec.json.Encoder(order="sorted")


def none_of(word: str, known: Sequence[str]) -> str:
    """Say that a word is none of those that are known."""
    return f"`{word[:64]}` is none of {', '.join(known)}"


def check_top_p(path: str, top_p: float, faults: Faults) -> None:
    """Check what part of the likeliest tokens is drawn from."""
    if not 0 < top_p <= 1:
        faults.add(path, f"is {top_p:g}, and must be above 0 and at most 1", _BAD)


def check_stop(path: str, texts: Sequence[str], faults: Faults) -> None:
    """Check the texts to stop before."""
    if len(texts) > _STOP_TEXTS:
        faults.add(path, f"has {len(texts)} items, and the limit is {_STOP_TEXTS}", _BAD)
        return
    for index, text in enumerate(texts):
        if not text:
            faults.add(f"{path}[{index}]", "is empty", _BAD)
        faults.text(f"{path}[{index}]", text, _STOP_BYTES, _BAD)


def check_effort(path: str, effort: str, faults: Faults) -> None:
    """Check how much a model is to think; empty: as it likes."""
    if effort and effort not in EFFORTS:
        faults.add(path, none_of(effort, EFFORTS), _BAD)


def check_choice(path: str, choice: str, names: Collection[str], faults: Faults) -> None:
    """Check which tool a model is to ask for, of those that it is offered; empty: nothing was said."""
    if choice and choice not in CHOICES and names and choice not in names:
        faults.add(path, f"{none_of(choice, CHOICES)}, and the name of no tool here", _BAD)


def checked_biases(path: str, given: Collection[tuple[int, float]], faults: Faults) -> tuple[tuple[int, float], ...]:
    """Check how much likelier each token is to become; in the order of tokens, so that equal requests are equal bytes.

    Empty where there are too many.
    """
    if len(given) > _BIASES:
        faults.add(path, f"has {len(given)} items, and the limit is {_BIASES}", _BAD)
        return ()
    read = tuple(sorted(given))
    for token, bias in read:
        if token < 0:
            faults.add(f"{path}[{token}]", "is the number of no token", _BAD)
        faults.within(f"{path}[{token}]", bias, -_MOST_BIAS, _MOST_BIAS, _BAD)
    return read


def check_tool(path: str, name: str, description: str, faults: Faults) -> None:
    """Check what a tool is called and how it is described."""
    if not name:
        faults.add(f"{path}.name", "is needed", Reason.FIELD_REQUIRED)
    else:
        check_name(f"{path}.name", name, faults)
    faults.text(f"{path}.description", description, _DESCRIPTION_BYTES, _BAD)


def check_each_name_once(path: str, names: Sequence[str], faults: Faults, field: str = ".name") -> None:
    """Check that no two tools have one name."""
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        first = places.setdefault(name, index)
        if name and first != index:
            faults.add(f"{path}[{index}]{field}", f"`{name[:64]}` is also the name of {path}[{first}]", _BAD)


def check_name(path: str, name: str, faults: Faults) -> None:
    """Check the name of a tool or a format."""
    if not _NAME.fullmatch(name):
        faults.add(path, "must be 1 to 64 of A-Z a-z 0-9 _ -", _BAD)


def schema_of_text(path: str, text: str, faults: Faults, *, is_object: bool) -> bytes:
    """Read a JSON Schema that was sent as text, which the provider gets as it is. Empty beside a fault.

    Args:
        path: Where it is.
        text: The schema.
        faults: Is told what is wrong.
        is_object: Whether it has to be the schema of an object.
    """
    if (size := utf8_bytes(text)) > SCHEMA_BYTES:
        faults.add(path, f"has {size} bytes, and the limit is {SCHEMA_BYTES}", _BAD)
        return b""
    raw = text.encode()
    try:
        schema: Json = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        faults.add(path, "is no JSON", _BAD)
        return b""
    return _usable(path, schema, raw, faults, is_object=is_object)


def schema_of_json(path: str, schema: Json, limits: Limits, faults: Faults, *, is_object: bool) -> bytes:
    """Read a JSON Schema, which the provider gets with its keys sorted; see `schema_of_text`."""
    before = len(faults.found)
    faults.json(path, schema, SCHEMA_BYTES, limits, _BAD)
    if len(faults.found) > before:
        return b""
    return _usable(path, schema, _sorted.encode(schema), faults, is_object=is_object)


def _usable(path: str, schema: Json, raw: bytes, faults: Faults, *, is_object: bool) -> bytes:
    if (why := _schema_fault(schema, raw, is_object=is_object)) is not None:
        faults.add(path, why, _BAD)
        return b""
    return raw


def _schema_fault(schema: Json, raw: bytes, *, is_object: bool) -> str | None:
    """Say what keeps JSON from being a schema that we and a provider can work with; None if nothing does."""
    if not isinstance(schema, dict):
        return "is no JSON object"
    if is_object and schema.get("type") != "object":
        return 'must say "type": "object": arguments are an object'
    if raw == Tool("").schema:
        return None
    try:
        jsonschemas.compiled(raw)
    except jsonschemas.SchemaInvalid as error:
        return f"is no JSON Schema that can be used: {error}"
    return None


def check_inline_image(path: str, data: bytes, limits: Limits, faults: Faults) -> None:
    """Check the size of a picture whose bytes are in the request; what is in it is not looked at."""
    if not data:
        faults.add(path, "is empty", Reason.FIELD_REQUIRED)
    if len(data) > limits.inline_image_bytes:
        limit = f"the limit is {limits.inline_image_bytes}: upload it first, with UploadImage"
        faults.add(path, f"has {len(data)} bytes, and {limit}", Reason.IMAGE_TOO_LARGE)


def check_inline_images(path: str, size: int, limits: Limits, faults: Faults) -> None:
    """Check the size of all pictures together whose bytes are in one request."""
    if size > limits.inline_images_bytes:
        limit = f"the limit is {limits.inline_images_bytes}: upload some of them first, with UploadImage"
        faults.add(path, f"have {size} bytes of images together, and {limit}", Reason.IMAGE_TOO_LARGE)


def check_image_detail(path: str, detail: str, faults: Faults) -> None:
    """Check how closely a model is to look; empty: nothing was said."""
    if detail and detail not in DETAILS:
        faults.add(path, f"`{detail[:64]}` must be one of {', '.join(DETAILS)}")


def check_uri(path: str, value: str, faults: Faults) -> None:
    """Check the address of a picture, which is not asked."""
    if not value:
        faults.add(path, "is needed", Reason.FIELD_REQUIRED)
        return
    if (size := utf8_bytes(value)) > URI_BYTES:
        faults.add(path, f"has {size} bytes, and the limit is {URI_BYTES}")
        return
    try:
        parts = urlsplit(value)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web or any(character <= " " or character == "\x7f" for character in value):
        faults.add(path, "must be an http or https URL")


def check_texts_together(path: str, size: int, limits: Limits, faults: Faults) -> None:
    """Check the bytes of all texts of one request."""
    if size > limits.request_text_bytes:
        faults.add(path, f"have {size} bytes of text together, and the limit is {limits.request_text_bytes}")
