"""The named steps that come with the server: small acts on texts and lists that pipelines want all the time."""

from __future__ import annotations

import json
from collections.abc import Iterator

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import Json
from stepwired.steps.named import step, takes


@step("upper", quick=True)
def upper(value: Json) -> Json:
    """A text in upper case."""
    return str(takes(value, str, "a text").upper())


@step("lower", quick=True)
def lower(value: Json) -> Json:
    """A text in lower case."""
    return str(takes(value, str, "a text").lower())


@step("trim", quick=True)
def trim(value: Json) -> Json:
    """A text without the white space at its ends."""
    return str(takes(value, str, "a text").strip())


@step("lines", quick=True)
def lines(value: Json) -> Iterator[Json]:
    """A text as its lines, one result each, blank ones left out."""
    for line in takes(value, str, "a text").splitlines():
        if line.strip():
            yield line


@step("join", quick=True)
def join(value: Json) -> Json:
    """A list of texts as one, a line each."""
    texts = takes(value, list, "a list of texts")
    return "\n".join(takes(text, str, "a list of texts") for text in texts)


@step("length", quick=True)
def length(value: Json) -> Json:
    """How many characters a text has, or items a list, or keys an object."""
    if not isinstance(value, str | list | dict):
        raise InvalidRequest(Reason.STEP_INPUT_INVALID, "the step takes a text, a list or an object")
    return len(value)


@step("text", quick=True)
def text(value: Json) -> Json:
    """The text of a message."""
    return str(takes(takes(value, dict, "a message").get("text", ""), str, "a message"))


@step("parse_json", quick=True)
def parse_json(value: Json) -> Json:
    """A text as the JSON that it is."""
    try:
        parsed: Json = json.loads(takes(value, str, "a text"))
    except (ValueError, RecursionError):
        raise InvalidRequest(Reason.STEP_INPUT_INVALID, "the text is no JSON") from None
    return parsed


@step("to_json", quick=True)
def to_json(value: Json) -> Json:
    """Any value as compact JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
