"""A streamed chat completion is read as far as it can be sent back, and no further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.errors import Failure, Reason
from stepwired.events import Event, ReasoningDelta
from stepwired.providers.base import Budget
from stepwired.providers.wires.openai.stream import OpenAIDecoder as Decoder
from tests.fakeprov.behaviours import DONE, chunk
from tests.providers.decoding import ASKED, call, cut, decode, failure, finished, text

TINY = Budget(text_bytes=1000, tool_bytes=1000)


def pieces_until_too_large(*chunks: bytes, budget: Budget = TINY) -> tuple[list[Event], Failure]:
    decoder = Decoder(ASKED, budget)
    events: list[Event] = []

    def read() -> None:
        for data in chunks:
            events.extend(decoder.feed(data))
        decoder.end()

    with pytest.raises(Failure) as failed:
        read()
    return events, failed.value


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
@pytest.mark.parametrize("together", [False, True])
def test_a_text_is_read_as_far_as_it_can_be_sent_back(letter: str, together: bool) -> None:
    size = len(letter.encode())
    good = [chunk(letter * (100 // size))] * 10
    assert len(text(decode(*good, DONE, budget=TINY)).encode()) == 1000
    body = [*good, chunk("x"), DONE]
    events, failed = pieces_until_too_large(*([b"".join(body)] if together else body))
    assert failed.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE
    assert failed.metadata["limitBytes"] == "1000"
    assert len(text(events).encode()) == (0 if together else 1000)


def test_replacement_characters_count_as_what_they_are() -> None:
    events, failed = pieces_until_too_large(*[chunk("@" * 100).replace(b"@", b"\xff")] * 10)
    assert failed.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE
    assert len(text(events).encode()) == 900


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.data())
def test_no_way_of_cutting_lets_more_text_through(sizes: list[int], data: st.DataObject) -> None:
    body = b"".join(chunk("a" * size) for size in sizes) + DONE
    cuts = tuple(sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8))))
    if sum(sizes) <= 1000:
        assert len(text(decode(*cut(body, cuts), budget=TINY))) == sum(sizes)
    else:
        events, failed = pieces_until_too_large(*cut(body, cuts))
        assert failed.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE
        assert len(text(events)) <= 1000


def test_reasoning_is_read_as_far_as_it_can_be_sent_back() -> None:
    events, failed = pieces_until_too_large(*[chunk(reasoning="a" * 100)] * 11)
    assert failed.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE
    assert sum(isinstance(event, ReasoningDelta) for event in events) == 10


@pytest.mark.parametrize(
    "piece",
    [call(0, arguments="a" * 100), call(None, id="a" * 100, name="n"), call(None, name="a" * 100)],
    ids=["inputs", "ids", "names"],
)
def test_tool_calls_are_read_as_far_as_they_can_be_sent_back(piece: bytes) -> None:
    chunks = [piece.replace(b'"index":null', b'"index":%d' % number) for number in range(11)]
    _, failed = pieces_until_too_large(*chunks)
    assert failed.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE


def test_the_name_of_a_model_is_cut_to_a_sensible_length() -> None:
    assert len(finished(decode(chunk("a", model="m" * 10_000), DONE)).model) == 256


def test_tool_calls_are_counted() -> None:
    assert failure(*(call(index) for index in range(10_000))).reason is Reason.PROVIDER_PROTOCOL_ERROR
