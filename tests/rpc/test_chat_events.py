"""What each event of a reply is on the wire, and that joining and cutting changes neither order nor content."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from stepwire.v1 import chat_pb2
from stepwired.events import (
    Attempt,
    Batch,
    ChatRequest,
    Finished,
    FinishReason,
    Json,
    Message,
    ReasoningDelta,
    Restarted,
    Role,
    Started,
    TextDelta,
    TokenLogprob,
    ToolAnswered,
    ToolCallDelta,
    ToolCalled,
    ToolResult,
    ToolUse,
    Usage,
    UsageSource,
)
from stepwired.limits import KIB, Limits
from stepwired.rpc.convert.replies import ReplyWriter
from tests.rpc.serving import STARTED, finished, serve, told, within

USE = ToolUse("t1", "find", {"q": "fox", "n": 2})


def written(batches: Sequence[Batch], limit_bytes: int = 64 * KIB) -> list[chat_pb2.StreamChatResponse]:
    writer = ReplyWriter(0.0, limit_bytes, chat_pb2.StreamChatResponse)
    return [response for batch in batches for response in writer.responses(batch, lambda: 1.5)]


def shown(batch: Batch) -> list[Json]:
    return [json_format.MessageToDict(each, preserving_proto_field_name=True) for each in written([batch])]


def test_each_event_is_told_in_full() -> None:
    assert shown(
        [
            Started("m", "p", is_replayed=True, is_cached=True),
            ToolCalled(1, USE),
            ToolAnswered(ToolResult("t1", "a fox", is_error=True)),
            Restarted(2, "PROVIDER_STREAM_TRUNCATED", "m2", "p2"),
        ]
    ) == [
        {"started": {"model": "m", "provider": "p", "replayed": True, "cached": True}},
        {
            "tool_call": {
                "index": 1,
                "tool_id": "t1",
                "name": "find",
                "tool_use": {
                    "tool_id": "t1",
                    "name": "find",
                    "input": {"q": "fox", "n": 2.0},
                    "tool_type": "function",
                },
            }
        },
        {"tool_result": {"tool_id": "t1", "result": "a fox", "is_error": True}},
        {"restarted": {"attempt": 2, "reason": "PROVIDER_STREAM_TRUNCATED", "model": "m2", "provider": "p2"}},
    ]


def test_the_end_tells_what_was_tried_and_what_it_came_to() -> None:
    usage = Usage(UsageSource.ESTIMATED, 3, 4, cost_usd=0.25, is_corrected=True)
    end = Finished(
        FinishReason.TOOL_USE,
        "m",
        "p",
        usage,
        (Message(role=Role.ASSISTANT, tool_use=USE),),
        attempts=(Attempt("a", "m1", "PROVIDER_OVERLOADED", 0.5, 0.0), Attempt("b", "m2", "", 0.25, 1.5)),
        turns=3,
        structured={"x": [1, None]},
        provider_reason="t" * 70,
    )
    (told_end,) = shown([end])
    assert isinstance(told_end, dict)
    said = told_end["finished"]
    assert isinstance(said, dict)
    assert said["usage"] == {
        "source": "USAGE_SOURCE_ESTIMATED",
        "input_token_count": 3,
        "output_token_count": 4,
        "cost_usd": 0.25,
        "corrected": True,
    }
    assert said["attempts"] == [
        {"provider": "a", "model": "m1", "reason": "PROVIDER_OVERLOADED", "duration": "0.500s", "wait": "0s"},
        {"provider": "b", "model": "m2", "duration": "0.250s", "wait": "1.500s"},
    ]
    assert (said["turns"], said["structured"]) == (3, {"x": [1.0, None]})
    assert said["provider_reason"] == "t" * 64


def test_a_structured_reply_that_protobuf_cannot_say_is_left_to_the_text() -> None:
    deep: Json = 1
    for _ in range(40):
        deep = [deep]
    for structured in (deep, 2**60):
        (end,) = written([[Finished(FinishReason.STOP, "", "", Usage(), (), structured=structured)]])
        assert not end.finished.HasField("structured")


def test_pieces_of_one_call_are_joined_and_calls_stay_apart_in_their_order() -> None:
    batch: Batch = [
        ToolCallDelta(0, "t0", "find"),
        ToolCallDelta(0, arguments='{"q":'),
        ToolCallDelta(0, arguments='"fox"}'),
        ToolCallDelta(1, "t1", "run", "{"),
        ToolCallDelta(0, arguments=" "),
        ToolCallDelta(1, arguments="}"),
    ]
    calls = [response.tool_call for response in written([batch])]
    assert [(call.index, call.tool_id, call.name, call.arguments_delta) for call in calls] == [
        (0, "t0", "find", '{"q":"fox"}'),
        (1, "t1", "run", "{"),
        (0, "", "", " "),
        (1, "", "", "}"),
    ]
    assert all(call.HasField("index") for call in calls)


def test_a_call_without_arguments_so_far_is_told_all_the_same() -> None:
    (response,) = written([[ToolCallDelta(0, "t0", "find")]])
    assert (response.tool_call.tool_id, response.tool_call.arguments_delta) == ("t0", "")


def test_a_tool_call_is_a_first_piece() -> None:
    assert written([[STARTED, ToolCallDelta(0, "t", "n")], [finished("")]])[-1].finished.HasField("first_event_latency")


def test_tokens_go_with_their_text() -> None:
    logprob = TokenLogprob("a", -0.5, (TokenLogprob("a", -0.5), TokenLogprob("b", -1.0)))
    (response,) = written([[TextDelta("a", (logprob,)), TextDelta("b")]])
    delta = response.text_delta
    assert (delta.text, delta.delta_count, len(delta.logprobs)) == ("ab", 2, 1)
    assert (delta.logprobs[0].token, delta.logprobs[0].logprob) == ("a", -0.5)
    assert [other.token for other in delta.logprobs[0].top] == ["a", "b"]
    (again,) = written([[TextDelta("x")], [TextDelta("a", (logprob,))]])[1:]
    assert len(again.text_delta.logprobs) == 1


words = st.text(max_size=6)
tokens = st.lists(st.builds(TokenLogprob, words, st.floats(-9, 0)), max_size=4).map(tuple)
indices = st.integers(0, 2)
events = st.one_of(
    st.builds(TextDelta, words.filter(bool), tokens),
    st.builds(TextDelta, words.filter(bool)),
    st.builds(ReasoningDelta, words.filter(bool)),
    st.builds(ToolCallDelta, indices, st.sampled_from(["", "t"]), st.sampled_from(["", "n"]), words),
    st.builds(ToolCalled, indices, st.just(USE)),
    st.builds(ToolAnswered, st.builds(ToolResult, st.just("t1"), words)),
    st.just(Restarted(2, "R", "m", "p")),
)


def content(responses: Sequence[chat_pb2.StreamChatResponse]) -> list[tuple[object, ...]]:
    """All that is told, in order, with neighbouring pieces of one thing put together."""
    said: list[tuple[object, ...]] = []
    for response in responses:
        kind = response.WhichOneof("event")
        key: tuple[object, ...]
        match kind:
            case "text_delta" | "reasoning_delta":
                key, text = (kind,), getattr(response, kind).text
            case "tool_call" if not response.tool_call.HasField("tool_use"):
                key, text = (kind, response.tool_call.index), response.tool_call.arguments_delta
            case _:
                said.append((kind, response.SerializeToString(deterministic=True)))
                continue
        if said and said[-1][:-1] == key:
            text = str(said.pop()[-1]) + text
        said.append((*key, text))
    return said


@given(batches=st.lists(st.lists(events, min_size=1, max_size=8), max_size=5), limit_bytes=st.integers(4, 200))
def test_joining_and_cutting_keeps_order_and_content(batches: list[Batch], limit_bytes: int) -> None:
    whole = written(batches, limit_bytes)
    one_by_one = written([[event] for batch in batches for event in batch])
    assert content(whole) == content(one_by_one)
    assert [each.token for response in whole for each in response.text_delta.logprobs] == [
        each.token for response in one_by_one for each in response.text_delta.logprobs
    ]
    for response in whole:
        if response.HasField("text_delta"):
            assert response.text_delta.text
            assert len(response.text_delta.text.encode()) <= limit_bytes


def test_a_text_with_many_probabilities_is_cut_between_its_tokens() -> None:
    top = tuple(TokenLogprob("other", -3.0) for _ in range(20))
    deltas = [TextDelta("word ", (TokenLogprob("word ", -0.1, top),)) for _ in range(1000)]
    responses = written([deltas])
    assert len(responses) > 5
    assert all(response.ByteSize() < 70 * KIB for response in responses)
    assert all(len(response.text_delta.text) == 5 * len(response.text_delta.logprobs) for response in responses)


# --- collected ---


async def test_a_collected_reply_forgets_what_came_before_it_was_restarted() -> None:
    first, second = TokenLogprob("Hel", -1.0), TokenLogprob("Hi", -2.0)

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [Started("m", "p", is_cached=True), TextDelta("Hel", (first,))]
        yield [Restarted(2, "PROVIDER_STREAM_TRUNCATED", "m", "p"), TextDelta("Hi", (second,)), finished("Hi")]

    async with serve(chat) as client:
        reply = await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"))
    assert (reply.text, [each.token for each in reply.logprobs]) == ("Hi", ["Hi"])
    assert (reply.cached, reply.replayed) == (True, False)


async def test_probabilities_too_large_to_collect_stop_the_model() -> None:
    top = tuple(TokenLogprob("other", -3.0) for _ in range(20))

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED]
        while True:
            yield [TextDelta("x", (TokenLogprob("x", -1.0, top),))]

    async with serve(chat, limits=Limits(reply_bytes=100_000, embed_floats=1000)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.Chat(chat_pb2.ChatRequest(prompt="hi")))
    assert told(caught.value).reason == "RESPONSE_TOO_LARGE"


async def test_events_come_to_the_caller_in_their_order() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("Let me see."), ToolCallDelta(0, "t1", "find", "{}")]
        yield [ToolCalled(0, USE), ToolAnswered(ToolResult("t1", "a fox"))]
        yield [TextDelta("A fox."), finished("A fox.")]

    async with serve(chat) as client:
        call = client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi"))
        kinds = [event.WhichOneof("event") async for event in call]
    assert kinds == ["started", "text_delta", "tool_call", "tool_call", "tool_result", "text_delta", "finished"]
