"""How a reply is put together, whatever the wire format."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwired.errors import Failure, Reason
from stepwired.events import (
    ChatOptions,
    Event,
    Finished,
    FinishReason,
    Reasoning,
    ResponseFormat,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    ToolCalled,
    ToolUse,
    Usage,
    UsageSource,
)
from stepwired.providers.base import Budget
from stepwired.providers.reading.assembly import TOOL_CALLS, Assembly
from stepwired.providers.reading.pieces import usage_of
from stepwired.providers.refusing.refusals import Asked

ASKED = Asked("acme", "m-1")


def begun(options: ChatOptions | None = None, budget: Budget | None = None) -> tuple[Assembly, list[Event]]:
    events: list[Event] = []
    reply = Assembly(ASKED, budget, options, 5)
    reply.start("m-2", events)
    events.clear()
    return reply, events


def finished(reply: Assembly, events: list[Event]) -> Finished:
    reply.finish(events)
    last = events[-1]
    assert isinstance(last, Finished)
    return last


def fails(reply: Assembly) -> Failure:
    with pytest.raises(Failure) as failed:
        reply.finish([])
    return failed.value


def test_nothing_that_began_is_a_truncation() -> None:
    assert fails(Assembly(ASKED)).reason is Reason.PROVIDER_STREAM_TRUNCATED


def test_a_call_without_an_id_is_given_one_that_stays_the_same_and_counts_on() -> None:
    reply, events = begun()
    reply.tool("a", events, name="look", arguments="{}")
    reply.tool("b", events, tool_id="x", name="look", arguments="{}")
    reply.tool("c", events, name="look")
    called = [event.tool_use.tool_id for event in end_of(reply, events) if isinstance(event, ToolCalled)]
    assert called == ["call_5_0", "x", "call_5_2"]


def end_of(reply: Assembly, events: list[Event]) -> list[Event]:
    events.clear()
    reply.finish(events)
    return events


def test_calls_are_told_after_the_last_piece_and_before_the_end() -> None:
    reply, events = begun()
    reply.tool(0, events, tool_id="1", name="look", arguments='{"a"')
    reply.tool(0, events, tool_id="1", name="look", arguments=":1}")
    reply.tool(0, events, tool_id="1", name="look")  # nothing new: not told
    reply.stop(FinishReason.STOP, "stop")
    last = finished(reply, events)
    assert events[:-1] == [
        ToolCallDelta(0, "1", "look", '{"a"'),
        ToolCallDelta(0, "1", "look", ":1}"),
        ToolCalled(0, ToolUse("1", "look", {"a": 1})),
    ]
    assert (last.reason, last.provider_reason) == (FinishReason.TOOL_USE, "stop")


@pytest.mark.parametrize(
    ("reason", "said", "is_called"),
    [
        (FinishReason.TOOL_USE, "tool_calls", True),
        (FinishReason.STOP, "stop", True),
        (FinishReason.UNKNOWN, "", True),
        (FinishReason.UNKNOWN, "engine_fell_over", False),
        (FinishReason.LENGTH, "length", False),
        (FinishReason.CONTENT_FILTER, "content_filter", False),
    ],
)
def test_a_call_that_may_have_been_cut_off_before_its_arguments_is_none(
    reason: FinishReason, said: str, is_called: bool
) -> None:
    reply, events = begun()
    reply.tool(0, events, tool_id="1", name="delete_all", arguments="")
    reply.tool(0, events, arguments=" ")
    reply.stop(reason, said)
    last = finished(reply, events)
    assert [event.tool_use.input for event in events if isinstance(event, ToolCalled)] == [{}] * is_called
    assert any(message.tool_use is not None for message in last.messages) is is_called


def test_a_signature_goes_back_with_the_first_message_even_without_a_thought() -> None:
    reply, events = begun()
    reply.signature = b"proof"
    reply.tool(0, events, name="look")
    reply.tool(1, events, name="hear")
    first, second = finished(reply, events).messages
    assert first.reasoning == Reasoning("", b"proof", "acme")
    assert second.reasoning is None


def test_tool_calls_are_counted_and_weighed() -> None:
    reply, events = begun(budget=Budget(tool_bytes=1000))
    for key in range(TOOL_CALLS):
        reply.tool(key, events, name="n")
    with pytest.raises(Failure) as failed:
        reply.tool("more", events, name="n")
    assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR
    with pytest.raises(Failure) as failed:
        reply.tool(0, events, arguments="a" * 1000)
    assert failed.value.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE


LOOK = Tool("look", schema=b'{"type":"object","properties":{"at":{"type":"string"}},"required":["at"]}')


@pytest.mark.parametrize(
    ("name", "arguments", "reason", "facts"),
    [
        (
            "look",
            '{"at":1}',
            Reason.STRUCTURED_OUTPUT_INVALID,
            {"at": "$.at", "tool": "look", "toolCall": "0", "provider": "acme"},
        ),
        ("listen", "{}", Reason.STRUCTURED_OUTPUT_INVALID, {"toolCall": "0", "provider": "acme"}),
        ("look", '{"at"', Reason.PROVIDER_PROTOCOL_ERROR, {"provider": "acme"}),
        ("look", '{"at":"a","at":"b"}', Reason.PROVIDER_PROTOCOL_ERROR, {"provider": "acme"}),
        ("look", '{"at":NaN}', Reason.PROVIDER_PROTOCOL_ERROR, {"provider": "acme"}),
        ("", "{}", Reason.PROVIDER_PROTOCOL_ERROR, {"provider": "acme"}),
    ],
)
def test_a_call_that_nobody_could_answer_fails_the_reply(
    name: str, arguments: str, reason: Reason, facts: dict[str, str]
) -> None:
    reply, events = begun(ChatOptions(tools=(LOOK,)))
    reply.tool(0, events, name=name, arguments=arguments)
    reply.stop(FinishReason.TOOL_USE, "tool_calls")
    failure = fails(reply)
    assert (failure.reason, failure.metadata) == (reason, facts)
    assert "secret" not in str(failure)


@pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
def test_half_a_call_of_a_reply_that_was_cut_off_is_left_out(reason: FinishReason) -> None:
    reply, events = begun(ChatOptions(tools=(LOOK,)))
    reply.tool(0, events, name="look", arguments='{"at":"a"}')
    reply.tool(1, events, name="look", arguments='{"at":')
    reply.stop(reason, "cut")
    last = finished(reply, events)
    assert [message.tool_use and message.tool_use.input for message in last.messages] == [{"at": "a"}]
    assert last.reason is reason


def formatted(schema: bytes = b"") -> ChatOptions:
    return ChatOptions(response_format=ResponseFormat(schema))


@pytest.mark.parametrize(
    ("schema", "text", "structured"),
    [(b"", '{"a":[1,null]}', {"a": [1, None]}), (b'{"type":"array"}', " [1] ", [1]), (b"{}", '"a"', "a")],
)
def test_a_reply_that_matches_its_format_is_told_as_json(schema: bytes, text: str, structured: Any) -> None:
    reply, events = begun(formatted(schema))
    reply.text(text, events)
    reply.stop(FinishReason.STOP, "stop")
    assert finished(reply, events).structured == structured


@pytest.mark.parametrize(
    ("schema", "text", "reason", "at"),
    [
        (b"", "[1]", FinishReason.STOP, "$"),
        (b"", "Sure! {}", FinishReason.STOP, "$"),
        (b"", '{"a":1,"a":2}', FinishReason.STOP, "$"),
        (b"", '{"a":Infinity}', FinishReason.STOP, "$"),
        (b"", '{"a":[9007199254740993]}', FinishReason.STOP, "$.a[0]"),
        (b"", '{"a":', FinishReason.LENGTH, "$"),
        (b"", "[" * 100_000, FinishReason.STOP, "$"),
        (b'{"items":{"type":"string"}}', '["a",2]', FinishReason.UNKNOWN, "$[1]"),
    ],
)
def test_a_reply_that_does_not_match_its_format_fails(schema: bytes, text: str, reason: FinishReason, at: str) -> None:
    reply, events = begun(formatted(schema))
    reply.text(text, events)
    reply.stop(reason, "said")
    failure = fails(reply)
    assert (failure.reason, failure.metadata["at"]) == (Reason.STRUCTURED_OUTPUT_INVALID, at)


def test_what_a_filter_or_the_model_withheld_need_not_match() -> None:
    for is_refused in (False, True):
        reply, events = begun(formatted())
        reply.text("No.", events)
        reply.is_refused = is_refused
        reply.stop(FinishReason.STOP if is_refused else FinishReason.CONTENT_FILTER, "said")
        last = finished(reply, events)
        assert (last.reason, last.structured) == (FinishReason.CONTENT_FILTER, None)


def test_a_turn_that_calls_tools_has_no_format_yet() -> None:
    reply, events = begun(formatted())
    reply.text("I look.", events)
    reply.tool(0, events, name="look")
    assert finished(reply, events).structured is None


def test_a_large_reply_that_has_to_match_is_not_for_the_loop() -> None:
    for options, is_light in ((formatted(), False), (ChatOptions(), True)):
        reply, events = begun(options)
        reply.text("a" * 100_000, events)
        assert reply.is_light is is_light


def test_probabilities_wait_for_the_text_they_belong_to() -> None:
    reply, events = begun()
    half, rest = TokenLogprob("\ufffd", -0.5), TokenLogprob("\ufffd", -0.25)
    reply.text("", events, (half,))
    assert events == []
    reply.text("é", events, (rest,))
    reply.text("!", events)
    assert events == [TextDelta("é", (half, rest)), TextDelta("!")]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "\ud83d", "\ude00", "é", "😀"])))
def test_halves_of_characters_are_joined_in_texts_thoughts_and_arguments(pieces: list[str]) -> None:
    reply, events = begun()
    reply.has_surrogates = True
    for piece in pieces:
        reply.text(piece, events)
        reply.think(piece, events)
    last = finished(reply, events)
    whole = "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    (message,) = last.messages
    assert message.text == whole
    assert (message.reasoning.text if message.reasoning else "") == whole
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == whole


def test_pieces_of_arguments_are_told_without_half_a_character() -> None:
    reply, events = begun()
    reply.has_surrogates = True
    reply.tool(0, events, name="look", arguments='{"a":"\ud83d')
    reply.tool(0, events, arguments='\ude00"}')
    assert [event.arguments for event in events if isinstance(event, ToolCallDelta)] == ['{"a":"', '😀"}']
    assert ToolCalled(0, ToolUse("call_5_0", "look", {"a": "😀"})) in end_of(reply, events)


@pytest.mark.parametrize(
    ("given_counts", "usage"),
    [
        ((1, 2, 3, 4), Usage(UsageSource.PROVIDER, 1, 2, 3, 4)),
        ((None, 7.0), Usage(UsageSource.PROVIDER, None, 7)),
        ((-1,), Usage(UsageSource.PROVIDER, 0, is_corrected=True)),
        ((0, 2**31), Usage(UsageSource.PROVIDER, 0, 2**31 - 1, is_corrected=True)),
        ((float("nan"), float("inf")), Usage(UsageSource.PROVIDER, None, 2**31 - 1, is_corrected=True)),
        ((True, "9", [], {}), Usage(UsageSource.PROVIDER)),
    ],
)
def test_counts_are_kept_in_bounds_and_flagged(given_counts: tuple[Any, ...], usage: Usage) -> None:
    assert usage_of(*given_counts) == usage
