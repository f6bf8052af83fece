"""Tool calls of a streamed chat completion: put together of their pieces, or refused."""

from __future__ import annotations

import json

import pytest

from stepwired.errors import Reason
from stepwired.events import Finished, FinishReason, Started, ToolCallDelta, ToolCalled, ToolUse
from stepwired.providers.wires.openai.stream import OpenAIDecoder as Decoder
from tests.fakeprov.behaviours import DONE, chunk
from tests.providers.decoding import ASKED, call, decode, failure, finished


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
