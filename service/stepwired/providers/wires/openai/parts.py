"""Reads what few servers of the OpenAI wire send: reasoning in details or between tags, content in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stepwired.providers.reading.mending import whole, without_surrogates

_OPEN, _CLOSE = "<think>", "</think>"
_GAP_CHARACTERS = 64
"""Most white space before a tag. With more it is text, so that what is held back stays short."""

#: Fields of a detail that come piece by piece.
_GROWING = ("text", "summary", "data")


def parts_of(content: Iterable[Any]) -> Iterator[tuple[bool, str]]:
    """Texts of content that is given in parts, each with whether it is reasoning; other kinds are left out."""
    for part in content:
        if isinstance(part, str):
            yield False, part
        elif isinstance(part, dict) and isinstance(thought := part.get("thinking"), str | list):
            pieces = [thought] if isinstance(thought, str) else [piece for _, piece in parts_of(thought)]
            yield True, "".join(pieces)
        elif isinstance(part, dict) and isinstance(text := part.get("text"), str):
            yield part.get("type") == "reasoning", text


class Details:
    """Reasoning as OpenRouter gives it: a list of details, each in pieces, that has to go back as it came."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._details: list[dict[str, Any]] = []
        self._texts: list[dict[str, list[str]]] = []  # of each detail, the pieces of what grows

    def add(self, pieces: Iterable[Any]) -> str:
        """Add pieces; return what of them people can read."""
        shown: list[str] = []
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            self.size_bytes += len(msgspec.json.encode(without_surrogates(piece)))
            shown.extend(text for name in ("text", "summary") if isinstance(text := piece.get(name), str))
            place = self._place(piece)
            if place is None:
                place = len(self._details)
                self._details.append({})
                self._texts.append({})
            for name, value in piece.items():
                if name in _GROWING and isinstance(value, str):
                    self._texts[place].setdefault(name, []).append(value)
                elif value is not None or name not in self._details[place]:
                    self._details[place][whole(name)] = without_surrogates(value)
        return "".join(shown)

    def _place(self, piece: dict[str, Any]) -> int | None:
        """The detail that this is more of: the one of its type and index, or the last one, if it has none."""
        kind, index = piece.get("type"), piece.get("index")
        for place in range(len(self._details) - 1, -1, -1):
            known = self._details[place]
            if known.get("type") == kind and known.get("index") == index:
                is_other = known.get("id") and piece.get("id") and known["id"] != piece["id"]
                return None if is_other or (index is None and kind == "reasoning.encrypted") else place
            if index is None:
                return None
        return None

    def written(self) -> bytes:
        """All of them as JSON; empty if there were none."""
        if not self._details:
            return b""
        grown = [{name: whole("".join(texts)) for name, texts in each.items()} for each in self._texts]
        return msgspec.json.encode([known | more for known, more in zip(self._details, grown, strict=True)])


class ThinkTags:
    """Tells reasoning between tags at a reply's start from the text behind it; tags may come in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"  # then "thought", "gap", "text"

    @property
    def is_over(self) -> bool:
        """Whether no tag can come any more."""
        return self._state == "text"

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Return what can be told now, each with whether it is reasoning."""
        if self._state == "text":
            return [(False, text)] if text else []
        held = self._held + text
        self._held = ""
        found: list[tuple[bool, str]] = []
        if self._state == "start":
            begun = held.lstrip()
            if len(held) - len(begun) > _GAP_CHARACTERS:
                self._state = "text"
                return [(False, held)]
            if begun.startswith(_OPEN):
                self._state, held = "thought", begun[len(_OPEN) :]
            elif _OPEN.startswith(begun):
                self._held = held
                return []
            else:
                self._state = "text"
                return [(False, held)]
        if self._state == "thought":
            thought, tag, held = held.partition(_CLOSE)
            if not tag:
                kept = next((size for size in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:size])), 0)
                self._held = thought[len(thought) - kept :] if kept else ""
                thought, held = thought[: len(thought) - kept], ""
            else:
                self._state = "gap"
            found.append((True, thought))
        if self._state == "gap" and (begun := held.lstrip("\r\n")):
            self._state = "text"
            found.append((False, begun))
        return [(is_thought, piece) for is_thought, piece in found if piece]

    def end(self) -> list[tuple[bool, str]]:
        """Return what was held back."""
        held, self._held = self._held, ""
        return [(self._state == "thought", held)] if held else []
