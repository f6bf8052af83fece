"""What JSON can carry on every road a value takes here: protobuf, SQLite, JavaScript, PostgreSQL."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from stepwired.events import MAX_SAFE_INTEGER, Json

_QUOTE = 0x22
_BEGINS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(")?|[,:\[{]|[0-9]{32,}+', re.DOTALL)
"""A text, to be passed over; or what begins or parts values; or a number that takes as long to read as some."""

_WITHIN = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_DIGITS = 32
_PARTS = b",:[{"

_WINDOW_BYTES = 256 * 1024
"""What is looked at in one go: a search keeps all other threads from running."""

_WIDE = (-(2**63), 2**64 - 1)
_SAFE = (-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
_MANY = 16
"""Items of a list that are worth a look at all of them at once."""


def parse(written: str | bytes) -> Json:
    """Read JSON, refusing what Python takes all the same: a key twice, NaN and infinities. Then see `fault`.

    Raises:
        ValueError: It is none of these, or nested too deep to be read; the text says what, and quotes nothing.
    """
    try:
        value: Json = json.loads(written, object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON at character {error.pos}") from None
    except UnicodeDecodeError:
        raise ValueError("no UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def has_more_values(raw: bytes, most: int) -> bool:
    """Whether JSON text has more values than this, without reading it: each takes a hundred times its bytes.

    Counts what begins or parts values, and 32 digits in a row as a value. Lets other threads run meanwhile.
    """
    if len(raw) <= most:
        return False
    if len(raw) <= _WINDOW_BYTES and sum(map(raw.count, (b",", b":", b"[", b"{"))) + len(raw) // _DIGITS <= most:
        return False  # in texts, too: fast, and mostly enough
    count = texts = at = 0
    while at < len(raw):
        end = at + _WINDOW_BYTES
        found = None
        for found in _BEGINS.finditer(raw, at, end):
            first = raw[found.start()]
            if first == _QUOTE:
                texts += 1
            else:
                count += 1 if first in _PARTS else (found.end() - found.start()) // _DIGITS
            # Before each text but the first is something that counts, or it is no JSON.
            if count > most or texts > most + 1:
                return True
        at = end
        if found and raw[found.start()] == _QUOTE and not found[1]:
            at = _text_end(raw, found.end())
    return False


def _text_end(raw: bytes, at: int) -> int:
    """Find the end of a text from somewhere within."""
    while found := _WITHIN.match(raw, at, at + _WINDOW_BYTES):
        if raw[found.end() : found.end() + 1] == b'"':
            return found.end() + 1
        if found.end() == at:  # there is none, or half of what a backslash begins
            break
        at = found.end()
    return len(raw)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a key twice")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def fault(value: object, *, max_depth: int, path: str = "", is_wide: bool = False) -> tuple[str, str] | None:
    """Find the first thing in `value` that some road would lose, change or refuse.

    Args:
        value: Anything; JSON if nothing is found.
        max_depth: Lists and objects that may lie inside each other.
        path: Where `value` is, for the answer.
        is_wide: Whether integers may have 64 bits, where the only road is text that is read by who knows that.

    Returns:
        The path of the fault, such as `metadata.a[2]`, and what is wrong with it; None if all is well.
    """
    found = _fault(value, max_depth, is_wide)
    if found is None:
        return None
    steps, why = found
    for step in reversed(steps):
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path, why


def _fault(value: object, max_depth: int, is_wide: bool) -> tuple[list[int | str], str] | None:
    """Find the first fault, and the way to it from within. Says nothing where all is well: values have many parts."""
    if not isinstance(value, list | dict):
        why = _scalar_fault(value, is_wide)
        return ([], why) if why else None
    if max_depth == 0:
        return [], "nested too deep"
    if isinstance(value, list):
        if len(value) >= _MANY and _are_all_well(value, *(_WIDE if is_wide else _SAFE)):
            return None
        for index, item in enumerate(value):
            if found := _fault(item, max_depth - 1, is_wide):
                found[0].append(index)
                return found
        return None
    for key, item in value.items():
        if not isinstance(key, str):
            return [], f"a key is {type(key).__name__}, not a string"
        if why := text_fault(key):
            return [], f"a key {why}"
        if found := _fault(item, max_depth - 1, is_wide):
            found[0].append(key)
            return found
    return None


def _are_all_well(items: list[Any], least: int, most: int) -> bool:
    """Whether these are all numbers or all texts that have no fault; False says nothing.

    Costs a tenth of what a look at each in its turn does.
    """
    kinds = set(map(type, items))
    if kinds == {str}:
        return text_fault("".join(items)) is None
    # A NaN is passed over by `min` and `max`, or is what they find; an integer may be too large for `isfinite`.
    return (
        kinds <= {int, float, bool}
        and min(items) >= least
        and max(items) <= most
        and (float not in kinds or all(map(math.isfinite, items)))
    )


def _scalar_fault(value: object, is_wide: bool) -> str | None:
    match value:
        case None | bool():
            return None
        case str():
            return text_fault(value)
        case float() if not math.isfinite(value):
            return "JSON has no NaN and no infinity"
        case int() | float() if is_wide:
            is_kept = isinstance(value, float) or _WIDE[0] <= value <= _WIDE[1]
            return None if is_kept else "an integer beyond 64 bits loses digits: send it as a string"
        case int() | float():
            # Every double this large is an integer, and may stand for several.
            return (
                "an integer beyond 2^53-1 loses digits: send it as a string" if abs(value) > MAX_SAFE_INTEGER else None
            )
        case _:
            return f"{type(value).__name__} is not JSON"


def text_fault(text: str) -> str | None:
    """Say what keeps `text` from being stored or sent; None if nothing does."""
    if "\0" in text:
        return "has a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "has half a surrogate pair, which UTF-8 cannot say"
    return None


def kind(value: Json) -> str:
    """Name what `value` is, as people who write JSON say it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
