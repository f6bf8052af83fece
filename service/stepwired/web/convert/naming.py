"""What the fields of a request are called by its sender, for failures that call them by the names of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepwired.errors import Failure

_OURS = re.compile(r"\b(?:options|messages\[\d{1,9}\])(?:\.\w+(?:\[\d{1,9}\])?)*")
_OPTION = re.compile(r"options\.(\w+)(.*)")
_MESSAGE = re.compile(r"messages\[(\d+)\](?:\.images\[(\d+)\].*|(.*))")
_TEXTS = re.compile(r"\btexts(\[\d+\])|^texts(?=:|$)")

#: What lies within a tool or a format, and deeper with OpenAI.
_WITHIN = {
    "tools": (re.compile(r"(\[\d+\])\."), r"\1.function."),
    "response_format": (re.compile(r"^\."), ".json_schema."),
}
_PARTS = {".text": ".content", ".tool_result": ".content"}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one chat request."""

    messages: Sequence[str] = ()
    """The place of each of our messages among theirs."""

    pictures: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """The places of their pictures, by the index of our message."""

    options: Mapping[str, str] = field(default_factory=dict)
    """Those that they call otherwise, or ask for by another field."""

    def renamed(self, text: str) -> str:
        """A path, or a text that has paths in it, as they would write it."""
        return _OURS.sub(lambda found: self._path(found[0]), text)

    def _path(self, path: str) -> str:
        if option := _OPTION.fullmatch(path):
            name, rest = option[1], option[2]
            if name in _WITHIN:
                inner, theirs = _WITHIN[name]
                rest = inner.sub(theirs, rest, count=1)
            return self.options.get(name, name) + rest
        message = _MESSAGE.fullmatch(path)
        index = int(message[1]) if message else len(self.messages)
        if message is None or index >= len(self.messages):
            return path
        if message[2] is None:
            return self.messages[index] + _PARTS.get(message[3], message[3])
        places = self.pictures.get(index, ())
        return places[int(message[2])] if int(message[2]) < len(places) else self.messages[index]


def renamed_texts(text: str, *, is_one: bool) -> str:
    """A path, or a text that has paths in it, with `input` for `texts`; `is_one`: it was a text and no list."""
    return _TEXTS.sub(lambda found: "input" if is_one else f"input{found[1] or ''}", text)


def told_by(failure: Failure, renamed: Callable[[str], str]) -> Failure:
    """The failure in the words of whoever sent the request; others may still read it in ours."""
    theirs = failure.again()
    theirs.args = (renamed(str(failure)),)
    theirs.violations = tuple(
        replace(each, field=renamed(each.field), description=renamed(each.description)) for each in failure.violations
    )
    return theirs
