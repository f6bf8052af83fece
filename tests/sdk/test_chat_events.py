"""The events of a reply, and of all turns of a chat with functions: read whole, and with one end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from stepwire import AsyncClient, Finished, Restarted, Started, TextDelta, ToolAnswered, ToolCallDelta, ToolCalled
from stepwire.v1 import chat_pb2, message_pb2
from tests.sdk.scripted import Server, finished, text
from tests.sdk.tooling import Talker, uses, weather


async def test_the_events_of_all_turns_come_with_one_end(client: AsyncClient, server: Server) -> None:
    server.on["Converse"] = Talker([text("Let me see."), *uses(("a", "weather", {"city": "Oslo"}))])
    events = [event async for event in client.stream_chat("go", tools=[weather])]
    kinds = [type(event) for event in events]
    assert kinds == [Started, TextDelta, ToolCalled, ToolAnswered, Started, TextDelta, Finished]
    called, answered = events[2:4]
    assert isinstance(called, ToolCalled)
    assert (called.tool_id, called.name, called.input) == ("a", "weather", {"city": "Oslo"})
    assert answered == ToolAnswered("a", "12 C in Oslo", is_error=False)
    assert "".join(event.text for event in events) == "Let me see.12 C in Oslo"


async def test_usage_attempts_and_turns_are_those_of_all_turns(client: AsyncClient, server: Server) -> None:
    turns = [uses(("a", "weather", {"city": "Oslo"})), [text("12"), finished("12")]]
    for number, events in enumerate(turns, 1):
        end = events[-1].finished
        end.ClearField("usage")
        end.usage.input_token_count, end.usage.cost_usd, end.turns = 10 * number, 0.5, 1
        end.usage.source = message_pb2.USAGE_SOURCE_ESTIMATED if number == 1 else message_pb2.USAGE_SOURCE_PROVIDER
        del end.attempts[:]
        end.attempts.add(model=f"m{number}")
    turns[1][-1].finished.usage.output_token_count = 3
    server.on["Converse"] = Talker(*turns)
    reply = await client.chat("go", tools=[weather])
    usage = reply.finished.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.cost_usd) == (30, 3, None, 1.0)
    assert usage.proto.source == message_pb2.USAGE_SOURCE_ESTIMATED
    assert ([each.model for each in reply.finished.attempts], reply.finished.turns) == (["m1", "m2"], 2)
    assert list(reply.proto.finished.messages) == reply.finished.messages


async def test_when_a_later_turn_begins_again_what_was_before_is_told_again(
    client: AsyncClient, server: Server
) -> None:
    again = chat_pb2.StreamChatResponse(restarted=chat_pb2.ChatRestarted(attempt=2))
    first = [text("Let me see. "), *uses(("a", "weather", {"city": "Oslo"}))]
    server.on["Converse"] = Talker(first, [text("Cold"), again, text("Warm"), finished("Warm")])
    events = [event async for event in client.stream_chat("go", tools=[weather])]
    begin = [type(event) for event in events].index(Restarted)
    assert [type(event) for event in events[begin:]] == [
        Restarted,
        TextDelta,
        ToolCalled,
        ToolAnswered,
        TextDelta,
        Finished,
    ]
    assert "".join(event.text for event in events[begin:]) == "Let me see. Warm"


async def test_every_event_of_a_stream_is_read(client: AsyncClient, server: Server) -> None:
    async def stream(_request: Any, _context: Any) -> AsyncGenerator[chat_pb2.StreamChatResponse, None]:
        kind = chat_pb2.StreamChatResponse
        yield kind(started=chat_pb2.ChatStarted(model="m", provider="p", replayed=True, cached=True))
        yield kind(tool_call=chat_pb2.ToolCall(index=1, tool_id="t", name="n", arguments_delta="{"))
        yield kind(tool_result=message_pb2.ToolResult(tool_id="t", result="r", is_error=True))
        yield kind(restarted=chat_pb2.ChatRestarted(attempt=2, reason="R", model="m2", provider="p2"))
        token = chat_pb2.TokenLogprob(token="a", logprob=-0.5)
        yield kind(text_delta=chat_pb2.TextDelta(text="a", delta_count=1, logprobs=[token]))
        end = chat_pb2.ChatFinished(turns=3, provider_reason="end", attempts=[chat_pb2.ChatAttempt(model="m2")])
        end.usage.cost_usd, end.usage.corrected = 0.5, True
        end.structured.list_value.values.add(number_value=1)
        yield kind(finished=end)

    server.on["StreamChat"] = stream
    first, delta, answered, again, piece, end = [event async for event in client.stream_chat("hi")]
    assert isinstance(first, Started)
    assert (first.is_replayed, first.is_cached) == (True, True)
    assert isinstance(delta, ToolCallDelta)
    assert (delta.index, delta.tool_id, delta.name, delta.arguments) == (1, "t", "n", "{")
    assert answered == ToolAnswered("t", "r", is_error=True)
    assert isinstance(again, Restarted)
    assert (again.attempt, again.reason, again.model, again.provider) == (2, "R", "m2", "p2")
    assert isinstance(piece, TextDelta)
    assert [token.logprob for token in piece.logprobs] == [-0.5]
    assert isinstance(end, Finished)
    assert (end.turns, end.provider_reason, end.structured) == (3, "end", [1])
    assert [attempt.model for attempt in end.attempts] == ["m2"]
    assert (end.usage.cost_usd, end.usage.is_corrected) == (0.5, True)
