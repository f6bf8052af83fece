"""The decoder of streamed chat completions: bytes in, events out."""

from __future__ import annotations

import json
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.errors import Failure, Reason
from stepwired.events import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCalled,
    ToolUse,
    Usage,
    UsageSource,
)
from stepwired.providers.base import Budget
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.openai.stream import OpenAIDecoder as Decoder
from tests.fakeprov.behaviours import DONE, chunk, event, transcript, usage

ASKED = Asked("acme", "gpt-x", "sk-live-1234567890")
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


def decode(*chunks: bytes, budget: Budget | None = None) -> list[Event]:
    decoder = Decoder(ASKED, budget)
    events: list[Event] = []
    for piece in chunks:
        events += decoder.feed(piece)
        if decoder.is_done:
            break
    return events + decoder.end()


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def finished(events: list[Event]) -> Finished:
    """The last event, after the rules were checked that hold for every reply."""
    first, last = events[0], events[-1]
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert sum(isinstance(event, Started | Finished) for event in events) == 2
    assert all(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))
    assert "".join(message.text for message in last.messages) == text(events)
    text(events).encode()  # no lone surrogate
    return last


def failure(*chunks: bytes) -> Failure:
    with pytest.raises(Failure) as failed:
        decode(*chunks)
    return failed.value


def escaped(escapes: str) -> bytes:
    """A chunk whose content is written with these JSON escapes."""
    return chunk("@").replace(b'"@"', b'"' + escapes.encode() + b'"')


def cut(data: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise((0, *cuts, len(data)))]


def test_a_reply_is_started_its_deltas_and_finished() -> None:
    events = decode(transcript(["Hel", "lo"]))
    assert events[:-1] == [Started("fake-1", "acme"), TextDelta("Hel"), TextDelta("lo")]
    last = finished(events)
    assert last.reason is FinishReason.STOP
    assert last.usage == Usage(UsageSource.PROVIDER, 3, 2)
    assert (last.model, last.provider) == ("fake-1", "acme")


def test_what_one_read_completes_is_one_batch() -> None:
    decoder = Decoder(ASKED)
    assert len(decoder.feed(transcript(["a"] * 50))) == 52
    assert decoder.is_done
    assert decoder.end() == []


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


@pytest.mark.parametrize(
    "done", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data:   [DONE]  \n\n", b"data: [DONE]\r\n\r\n"]
)
def test_done_may_have_spaces(done: bytes) -> None:
    assert finished(decode(chunk("a"), done)).reason is FinishReason.UNKNOWN


def test_what_comes_after_done_is_ignored() -> None:
    assert text(decode(chunk("a") + DONE + chunk("b") + b"data: no json\n\n")) == "a"


def test_an_end_without_done_is_whole_if_the_model_said_why_it_stopped() -> None:
    assert finished(decode(chunk("a"), chunk(finish="length"))).reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    "chunks", [[], [chunk("a")], [usage()], [b": hi\n\n"], [DONE], [chunk("a", finish="stop")[:-1]]]
)
def test_an_end_that_nothing_announced_is_a_truncation(chunks: list[bytes]) -> None:
    assert failure(*chunks).reason is Reason.PROVIDER_STREAM_TRUNCATED


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("tool_calls", FinishReason.TOOL_USE),
        ("eos", FinishReason.UNKNOWN),
    ],
)
def test_reasons_to_finish(said: str, reason: FinishReason) -> None:
    assert finished(decode(chunk("a"), chunk(finish=said), DONE)).reason is reason


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


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (
            {"prompt_tokens": -5, "completion_tokens": 10**30},
            Usage(UsageSource.PROVIDER, 0, 2**31 - 1, is_corrected=True),
        ),
        ({"prompt_tokens": 7.0, "completion_tokens": "9"}, Usage(UsageSource.PROVIDER, 7, None)),
        ({"prompt_tokens": True}, Usage(UsageSource.PROVIDER)),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 3},
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            Usage(UsageSource.PROVIDER, 1, 2, 3, 4),
        ),
        ({"prompt_tokens_details": [], "completion_tokens_details": 7}, Usage(UsageSource.PROVIDER)),
        ("many", Usage()),
    ],
)
def test_token_counts_are_kept_in_bounds(counts: Any, expected: Usage) -> None:
    assert finished(decode(chunk("a"), event({"choices": [], "usage": counts}), DONE)).usage == expected


def test_of_counts_that_come_with_each_chunk_the_last_hold() -> None:
    chunks = [event({"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": n}}) for n in (1, 2, 3)]
    assert finished(decode(*chunks, DONE)).usage.output_tokens == 3


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {\n\n",
        b"data: no json\n\n",
        b"data: 1\n\n",
        b'data: {"choices":[{"delta":{"content":1}}]}\n\n',
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]\n\n',
        b"data: {\xff\n\n",
        b"data: \n\n",
        pytest.param(b'data: {"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n", id="100,000 deep"),
        pytest.param(b'data: {"x":"\\ud83d","y":' + b"[" * 100_000 + b"}\n\n", id="100,000 deep and repaired"),
        pytest.param(b'data: {"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}\n\n", id="5,000 digits"),
    ],
)
def test_what_is_no_chunk_is_no_part_of_the_protocol(bad: bytes) -> None:
    assert failure(bad).reason is Reason.PROVIDER_PROTOCOL_ERROR
    assert failure(chunk("a"), bad, DONE).reason is Reason.PROVIDER_PROTOCOL_ERROR


def test_what_came_before_an_error_in_the_same_read_is_delivered_first() -> None:
    decoder = Decoder(ASKED)
    events = decoder.feed(chunk("a") + event({"error": {"message": "busy", "type": "overloaded_error"}}) + chunk("b"))
    assert events == [Started("fake-1", "acme"), TextDelta("a")]
    assert decoder.is_done
    with pytest.raises(Failure) as failed:
        decoder.end()
    assert failed.value.reason is Reason.PROVIDER_OVERLOADED


def test_an_error_before_any_text_leaves_nothing_started() -> None:
    decoder = Decoder(ASKED)
    with pytest.raises(Failure):
        decoder.feed(chunk("", role="assistant") + event({"error": {"message": "busy"}}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (event({"error": {"type": "overloaded_error"}}), Reason.PROVIDER_OVERLOADED),
        (event({"error": {"code": 429, "message": "slow"}, "choices": []}), Reason.PROVIDER_RATE_LIMITED),
        (event({"error": "broken"}), Reason.PROVIDER_ERROR),
        (event({"type": "error", "error": {"type": "rate_limit_error"}}), Reason.PROVIDER_RATE_LIMITED),
        (event({"object": "error", "message": "bad", "code": 400}), Reason.PROVIDER_REJECTED_REQUEST),
        (b'event: error\ndata: {"message":"x","type":"overloaded_error"}\n\n', Reason.PROVIDER_OVERLOADED),
    ],
)
def test_errors_inside_the_stream_are_told_by_their_kind(data: bytes, reason: Reason) -> None:
    assert failure(data).reason is reason
    assert failure(chunk("a"), data).reason is reason


def call(index: int | None, *, id: str | None = None, name: str | None = None, arguments: str = "") -> bytes:  # noqa: A002
    function = {"name": name, "arguments": arguments}
    return chunk(tool_calls=[{"index": index, "id": id, "type": "function", "function": function}])


def test_tool_calls_are_put_together_by_index() -> None:
    chunks = [
        call(1, id="c1", name="b"),
        call(0, id="c0", name="a", arguments='{"x"'),
        call(1, arguments="{}"),
        call(0, arguments=":[1]}"),
    ]
    last = finished(decode(chunk("Look:"), *chunks, chunk(finish="tool_calls"), DONE))
    assert last.reason is FinishReason.TOOL_USE
    assert [message.tool_use for message in last.messages] == [
        None,
        ToolUse("c1", "b", {}),
        ToolUse("c0", "a", {"x": [1]}),
    ]


def test_tool_calls_without_an_index_are_put_together_by_id() -> None:
    chunks = [call(None, id="c0", name="a", arguments="{"), call(None, arguments="}"), call(None, id="c1", name="b")]
    last = finished(decode(*chunks, chunk(finish="tool_calls"), DONE))
    assert [message.tool_use for message in last.messages] == [ToolUse("c0", "a", {}), ToolUse("c1", "b", {})]


def test_a_tool_call_that_was_cut_off_is_left_out() -> None:
    last = finished(decode(call(0, id="c", name="a", arguments='{"x'), chunk(finish="length"), DONE))
    assert [message.tool_use for message in last.messages] == [None]


NO_INPUT = [
    '{"x',
    "[]",
    "1",
    "[" * 100_000,
    *('{"x":' + "[" * depth + "]" * depth + "}" for depth in (32, 40, 60, 99, 500)),
    '{"x":1' + "0" * 400 + "}",
    '{"x":1e400}',
    '{"x":NaN}',
    '{"x":9007199254740993}',
    '{"x":"\\u0000"}',
    '{"\\u0000":1}',
]


@pytest.mark.parametrize("arguments", NO_INPUT, ids=[text[:20] + str(len(text)) for text in NO_INPUT])
def test_a_tool_call_that_makes_no_sense_fails_the_reply(arguments: str) -> None:
    bad = call(0, id="c", name="a", arguments=arguments)
    assert failure(bad, chunk(finish="tool_calls"), DONE).reason is Reason.PROVIDER_PROTOCOL_ERROR


@pytest.mark.parametrize("arguments", NO_INPUT, ids=[text[:20] + str(len(text)) for text in NO_INPUT])
def test_a_tool_call_that_makes_no_sense_is_left_out_of_what_was_cut_off(arguments: str) -> None:
    last = finished(decode(call(0, id="c", name="a", arguments=arguments), chunk(finish="content_filter"), DONE))
    assert [message.tool_use for message in last.messages] == [None]


@pytest.mark.parametrize("where", ["id", "name"])
def test_a_tool_call_whose_name_or_id_nobody_could_send_back_fails_the_reply(where: str) -> None:
    bad = call(0, **{"id": "c", "name": "a", where: "a\0"}, arguments="{}")
    assert failure(bad, chunk(finish="tool_calls"), DONE).reason is Reason.PROVIDER_PROTOCOL_ERROR


def test_a_tool_call_may_nest_as_deep_as_a_caller_may() -> None:
    arguments = '{"x":' + "[" * 31 + "]" * 31 + "}"
    (message,) = finished(decode(call(0, id="c", name="a", arguments=arguments), DONE)).messages
    assert message.tool_use is not None
    assert json.dumps(message.tool_use.input, separators=(",", ":")) == arguments


def test_half_a_character_in_a_tool_call_becomes_a_replacement_character() -> None:
    arguments = '{"a\\ud83d":["\\ude00",{"x":"\\ud83d\\ude00"}]}'
    (message,) = finished(decode(call(0, id="c", name="a", arguments=arguments), DONE)).messages
    assert message.tool_use == ToolUse("c", "a", {"a\ufffd": ["\ufffd", {"x": "😀"}]})


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


def test_large_tool_calls_are_left_to_the_end_which_may_be_called_in_a_thread() -> None:
    decoder = Decoder(ASKED)
    arguments = json.dumps({"x": "a" * 100_000})
    assert decoder.feed(call(0, id="c", name="a", arguments=arguments) + chunk(finish="tool_calls") + DONE) == [
        Started("fake-1", "acme"),
        ToolCallDelta(0, "c", "a", arguments),
    ]
    assert decoder.is_done
    assert not decoder.is_light
    called, last = decoder.end()
    assert isinstance(last, Finished)
    assert called == ToolCalled(0, ToolUse("c", "a", {"x": "a" * 100_000}))
    assert last.messages[0].tool_use == ToolUse("c", "a", {"x": "a" * 100_000})
    assert decoder.end() == []


def test_tool_calls_are_counted() -> None:
    assert failure(*(call(index) for index in range(10_000))).reason is Reason.PROVIDER_PROTOCOL_ERROR
