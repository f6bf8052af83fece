"""How a reply is written: nothing of it is lost, whoever reads it and however it came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwired.events import (
    Batch,
    Chat,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Message,
    ReasoningDelta,
    Role,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCalled,
    ToolUse,
    Usage,
    UsageSource,
)
from stepwired.web import stream
from stepwired.web.text import WIDEST_BYTES, cut
from tests.rpc.serving import SOON_S, STARTED, finished
from tests.web.fronting import CHAT, HI, serve

HARD = 'a\u2028b\u2029 \U0001f9d1\u200d\U0001f680\r\n\t"\\/\x7f\ufeff\u0085é日本'


def saying(*batches: Sequence[Event], end: Finished | None = None) -> Chat:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED]
        for batch in batches:
            yield batch
        yield [end or finished("")]

    return chat


async def test_each_event_is_one_chunk_of_ascii_with_line_feeds_only() -> None:
    async with serve(saying([TextDelta("Hel")], [TextDelta("lo")])) as front:
        reply = await front.chat(stream=True, stream_options={"include_usage": True})
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert reply.headers["x-accel-buffering"] == "no"
    for chunk in reply.chunks:
        assert chunk.isascii()
        assert b"\r" not in chunk
        assert chunk.startswith(b"data: ")
        assert chunk.endswith(b"\n\n")
        assert chunk.count(b"\n") == 2
    *events, end, usage, done = reply.events
    assert [event["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
    ]
    assert end["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}
    assert done == "[DONE]"
    assert {event["id"] for event in (*events, end, usage)} == {f"chatcmpl-{reply.headers['x-request-id']}"}
    assert {event["model"] for event in (*events, end, usage)} == {"echo-1"}
    assert {event["object"] for event in (*events, end, usage)} == {"chat.completion.chunk"}


async def test_the_body_ends_with_done_in_the_same_write_and_the_connection_goes_on() -> None:
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        for _ in range(3):
            await connection.ask("POST", CHAT, HI | {"stream": True})
            reply = await connection.reply()
            assert reply.is_whole
            assert reply.text == "hithere"


@pytest.mark.parametrize("text", [HARD, HARD * 500, "x" * 10_000, "\U0001f680" * 3000, "\x01" * 3000])
async def test_text_of_any_kind_and_length_comes_whole_in_events_of_at_most_a_kib(text: str) -> None:
    async with serve(saying([TextDelta(text)])) as front:
        reply = await front.chat(stream=True)
    assert reply.text == text
    assert max(map(len, reply.chunks)) <= stream.EVENT_BYTES


@given(st.text(st.characters(), min_size=1, max_size=400), st.integers(2 + WIDEST_BYTES, 200))
@settings(max_examples=300, deadline=None)
def test_pieces_of_a_text_are_the_text_and_none_is_too_long(text: str, limit: int) -> None:
    pieces = list(cut(text, limit))
    assert "".join(map(json.loads, pieces)).encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")
    assert all(3 <= len(piece) <= limit for piece in pieces)


async def test_no_text_follows_another_within_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[float] = []
    write = stream.Stream._event

    async def noted(self: stream.Stream, event: bytes) -> None:
        await write(self, event)
        writes.append(time.monotonic())

    monkeypatch.setattr(stream.Stream, "_event", noted)
    tokens = [TextDelta(f" {number}") for number in range(400)]
    async with serve(saying(*([token] for token in tokens[:40]), tokens[40:])) as front:
        reply = await front.chat(stream=True)
    assert reply.text == "".join(token.text for token in tokens)
    *texts, _ = writes  # the last is the end, which may follow at once
    assert all(after - before >= 0.001 for before, after in pairwise(texts))


async def test_reasoning_is_told_apart_from_text() -> None:
    batch: list[Event] = [ReasoningDelta("hm"), ReasoningDelta("m"), TextDelta("ok")]
    async with serve(saying(batch)) as front:
        reply = await front.chat(stream=True)
    deltas = [event["choices"][0]["delta"] for event in reply.events[:-2]]
    assert deltas == [{"role": "assistant", "reasoning_content": "hmm"}, {"content": "ok"}]


async def test_calls_of_tools_that_run_side_by_side_come_as_pieces_of_each() -> None:
    long = json.dumps({"text": HARD * 200})
    uses = [ToolUse("call_a", "one", {"x": 1}), ToolUse("call_b", "two", json.loads(long)), ToolUse("c", "three", {})]
    batches: list[list[Event]] = [
        [ToolCallDelta(0, "call_a", "one")],
        [
            ToolCallDelta(0, "call_a", "one", '{"x"'),
            ToolCallDelta(1, "call_b", "two"),
            ToolCallDelta(0, arguments=":1}"),
        ],
        [ToolCallDelta(1, "call_b", "two", long)],
        [ToolCalled(index, use) for index, use in enumerate(uses)],
    ]
    end = Finished(FinishReason.TOOL_USE, "echo-1", "scripted", Usage(), ())
    async with serve(saying(*batches, end=end)) as front:
        reply = await front.chat(stream=True)
    calls: dict[int, dict[str, str]] = {}
    for event in reply.events[:-2]:
        [delta] = event["choices"][0]["delta"]["tool_calls"]
        call = calls.setdefault(delta["index"], {"arguments": ""})
        if "id" in delta:
            assert "id" not in call
            call |= {"id": delta["id"], "name": delta["function"]["name"]}
        call["arguments"] += delta["function"]["arguments"]
    assert [call["id"] for call in calls.values()] == ["call_a", "call_b", "c"]
    assert [call["name"] for call in calls.values()] == ["one", "two", "three"]
    assert [json.loads(call["arguments"]) for call in calls.values()] == [use.input for use in uses]
    assert reply.events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert max(map(len, reply.chunks)) <= stream.EVENT_BYTES


async def test_a_whole_call_of_a_tool_is_cut_as_its_pieces_are() -> None:
    use = ToolUse("c", "look", {"text": "é" * 5000})
    end = Finished(FinishReason.TOOL_USE, "echo-1", "scripted", Usage(), ())
    async with serve(saying([ToolCalled(0, use)], end=end)) as front:
        reply = await front.chat(stream=True)
    calls = [event["choices"][0]["delta"]["tool_calls"][0] for event in reply.events[:-2]]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("c", "look")
    assert all(set(call) == {"index", "function"} for call in calls[1:])
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == use.input
    assert max(map(len, reply.chunks)) <= stream.EVENT_BYTES


async def test_a_text_before_anybody_said_who_answers_is_sent_as_well() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [TextDelta("a")]
        yield [finished("a")]

    async with serve(chat) as front:
        reply = await front.chat(stream=True)
    assert reply.text == "a"
    assert reply.is_whole


async def test_probabilities_come_with_their_tokens() -> None:
    token = TokenLogprob("é", -0.5, (TokenLogprob("é", -0.5), TokenLogprob("e", -1.25)))
    async with serve(saying([TextDelta("é", (token,)), TextDelta("!")])) as front:
        streamed = await front.chat(stream=True, logprobs=True, top_logprobs=2)
        whole = await front.chat(logprobs=True, top_logprobs=2)
    first, second, *_ = streamed.events
    wanted = {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                    {"token": "e", "logprob": -1.25, "bytes": [101]},
                ],
            }
        ],
        "refusal": None,
    }
    assert first["choices"][0]["logprobs"] == wanted
    assert second["choices"][0]["logprobs"] is None
    assert whole.json["choices"][0]["logprobs"] == wanted


async def test_a_silent_model_is_bridged_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PING_S", 0.02)
    heard = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("a")]
        await heard.wait()
        yield [TextDelta("b"), finished("ab")]

    async with asyncio.timeout(SOON_S), serve(chat) as front, front.connection() as connection:
        await connection.ask("POST", CHAT, HI | {"stream": True})
        await connection.head()
        chunks = [await connection.chunk() for _ in range(3)]
        assert chunks[1:] == [b": ping\n\n"] * 2
        heard.set()
        while chunk := await connection.chunk():
            chunks.append(chunk)
    assert chunks[-1] == b"data: [DONE]\n\n"


async def test_a_whole_reply_says_what_the_stream_says() -> None:
    end = Finished(
        FinishReason.TOOL_USE,
        "echo-1",
        "scripted",
        Usage(UsageSource.PROVIDER, 7, 5, 2, 3),
        (
            Message(Role.ASSISTANT, text=HARD),
            Message(Role.ASSISTANT, tool_use=ToolUse("call_a", "one", {"x": "é"})),
        ),
    )
    async with serve(saying([TextDelta(HARD)], end=end)) as front:
        reply = await front.chat()
    said: dict[str, Any] = reply.json
    assert (said["object"], said["model"], said["id"]) == (
        "chat.completion",
        "echo-1",
        f"chatcmpl-{reply.headers['x-request-id']}",
    )
    [choice] = said["choices"]
    message = choice["message"]
    assert (message["role"], message["content"], choice["finish_reason"]) == ("assistant", HARD, "tool_calls")
    [call] = message["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("call_a", "function", "one")
    assert json.loads(call["function"]["arguments"]) == {"x": "é"}
    assert said["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
