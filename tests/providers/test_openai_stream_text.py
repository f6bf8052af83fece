"""The text of a streamed chat completion is the same however it was cut and written."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.events import ReasoningDelta, TextDelta
from stepwired.providers.wires.openai.stream import OpenAIDecoder as Decoder
from tests.fakeprov.behaviours import DONE, chunk, event
from tests.providers.decoding import ASKED, cut, decode, finished, text

TEXTS = [
    "",
    "Hel",
    "lo ",
    "👩‍👩‍👧",
    "e\u0301",
    "a\u2028b\u0085c",
    "\r\n",
    "data: x\n\n",
    "\u0000",
    '"\\',
    "😀" * 3,
    "\ufeff",
]


def escaped(escapes: str) -> bytes:
    """A chunk whose content is written with these JSON escapes."""
    return chunk("@").replace(b'"@"', b'"' + escapes.encode() + b'"')


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_the_text_is_the_same_for_every_way_of_cutting(newline: bytes) -> None:
    data = b"\xef\xbb\xbf: hi\n\n" + b"".join(event({"choices": [{"delta": {"content": text}}]}) for text in TEXTS)
    data = (data + escaped("\\ud83d") + escaped("\\ude00") + chunk(finish="stop") + DONE).replace(b"\n", newline)
    whole = "".join(TEXTS) + "😀"
    assert text(decode(data)) == whole
    assert text(decode(*(data[at : at + 1] for at in range(len(data))))) == whole
    for at in range(len(data)):
        assert text(decode(*cut(data, (at,)))) == whole
    for cuts in combinations(range(0, len(data), 13), 2):
        assert text(decode(*cut(data, cuts))) == whole


@given(st.lists(st.text()), st.data())
def test_any_text_comes_out_as_it_went_in(texts: list[str], data: st.DataObject) -> None:
    body = b"".join(chunk(piece) for piece in texts) + chunk(finish="stop") + DONE
    cuts = tuple(sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8))))
    events = decode(*cut(body, cuts))
    assert text(events) == "".join(texts)
    finished(events)


@given(st.lists(st.sampled_from(["a", "\\ud83d", "\\ude00", "\\uD83D", "é", "\\u00e9", "\\ud83d\\ude00"]), max_size=12))
def test_surrogates_are_joined_over_chunks_and_replaced_where_alone(pieces: list[str]) -> None:
    body = b"".join(escaped(piece) for piece in pieces) + chunk(finish="stop") + DONE
    events = decode(body)
    joined: str = json.loads('"' + "".join(pieces) + '"')
    assert text(events) == joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    finished(events)


def test_half_a_character_waits_for_its_other_half() -> None:
    decoder = Decoder(ASKED)
    decoder.feed(escaped("a\\ud83d"))
    assert decoder.feed(escaped("\\ude00b")) == [TextDelta("😀b")]


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    events = decode(chunk("a@b").replace(b"@", b"\xff") + chunk("c") + chunk(finish="stop") + DONE)
    assert text(events) == "a\ufffdbc"


def test_chunks_without_text_make_no_text() -> None:
    odd: list[dict[str, Any]] = [
        {"choices": []},
        {"choices": None, "usage": {"prompt_tokens": 1}},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {}}]},
        {"choices": [{"delta": {"content": None}}]},
        {"model": None, "choices": [], "prompt_filter_results": [{}]},
        {},
    ]
    events = decode(*map(event, odd), chunk("a"), DONE)
    assert text(events) == "a"
    assert finished(events).model == "gpt-x"  # the first chunk did not say another


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_told_apart_from_text(field: str) -> None:
    events = decode(chunk(**{field: "hm "}), chunk(**{field: "so"}), chunk("a"), DONE)
    assert events[1:4] == [ReasoningDelta("hm "), ReasoningDelta("so"), TextDelta("a")]
    (message,) = finished(events).messages
    assert message.reasoning is not None
    assert (message.reasoning.text, message.reasoning.provider) == ("hm so", "acme")


def test_a_refusal_of_the_model_is_its_text() -> None:
    assert text(decode(chunk(refusal="I can't."), DONE)) == "I can't."


def test_a_delta_of_300_kb_arrives() -> None:
    large = "ä" * 150_000
    data = chunk(large) + DONE
    assert text(decode(*(data[at : at + 65536] for at in range(0, len(data), 65536)))) == large
