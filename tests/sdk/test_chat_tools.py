"""Tools, formats, talks and counts of the SDK: what is sent, what is called, and what comes of it."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal, TypedDict

import grpc
import pytest

import stepwire
from stepwire import (
    AsyncClient,
    AsyncConversation,
    ChatEvent,
    Client,
    Conversation,
    Finished,
    Restarted,
    Started,
    TextDelta,
    ToolAnswered,
    ToolCallDelta,
    ToolCalled,
    errors,
)
from stepwire._tools import Tools, described
from stepwire.v1 import chat_pb2, message_pb2
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, finished, for_ever, started, text
from tests.sdk.stepping import HANG_S


def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather of a city."""
    return f"12 {unit} in {city}"


async def wait(seconds: Annotated[float, "How long."]) -> dict[str, Any]:
    """Wait."""
    return {"waited": seconds}


def fails() -> None:
    raise ValueError("no such city")


def uses(*calls: tuple[str, str, dict[str, Any]]) -> list[chat_pb2.StreamChatResponse]:
    """The end of a turn that asks for tools: id, name and input of each."""
    end = chat_pb2.ChatFinished(reason=chat_pb2.FINISH_REASON_TOOL_USE, model="scripted-1", provider="scripted")
    events = []
    for index, (tool_id, name, arguments) in enumerate(calls):
        use = message_pb2.ToolUse(tool_id=tool_id, name=name)
        use.input.update(arguments)
        end.messages.add(role="assistant", tool_use=use)
        events.append(chat_pb2.StreamChatResponse(tool_call=chat_pb2.ToolCall(index=index, tool_use=use)))
    return [*events, chat_pb2.StreamChatResponse(finished=end)]


class Talker:
    """Answers Converse: with these turns, then with the last result that it was given."""

    def __init__(self, *turns: list[chat_pb2.StreamChatResponse]) -> None:
        self.turns = list(turns)
        self.heard: list[chat_pb2.ConverseRequest] = []

    async def __call__(
        self, requests: AsyncIterator[chat_pb2.ConverseRequest], _: Any
    ) -> AsyncGenerator[chat_pb2.ConverseResponse, None]:
        turn = due = 0
        async for request in requests:
            self.heard.append(request)
            due -= request.HasField("tool_result")
            if due > 0:
                continue
            turn += 1
            last = request.tool_result.result or request.chat.prompt
            events = self.turns.pop(0) if self.turns else [text(last), finished(last)]
            due = sum(event.tool_call.HasField("tool_use") for event in events)
            for event in (started(), *events):
                kind = event.WhichOneof("event")
                assert kind is not None
                yield chat_pb2.ConverseResponse(turn=turn, **{kind: getattr(event, kind)})


# --- what a model is told of a function ---


class Place(TypedDict):
    name: str
    near: list[str]


def everything(
    a: int,
    b: bool,
    c: list[float],
    d: dict[str, int],
    e: str | None,
    f: Place,
    g: Any,
    h: Mapping[str, Any],
    i: list,  # type: ignore[type-arg]
    j: Any = 3,
) -> None:
    """Takes all there is.

    And says so.
    """


def test_a_function_is_described_by_its_name_its_words_and_its_annotations() -> None:
    tool = described(everything)
    assert (tool.name, tool.description) == ("everything", "Takes all there is.\n\nAnd says so.")
    schema = json.loads(tool.schema_json)
    assert schema["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "boolean"},
        "c": {"type": "array", "items": {"type": "number"}},
        "d": {"type": "object", "additionalProperties": {"type": "integer"}},
        "e": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "f": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "near": {"type": "array", "items": {"type": "string"}}},
            "required": ["name", "near"],
        },
        "g": {},
        "h": {"type": "object", "additionalProperties": {}},
        "i": {"type": "array"},
        "j": {},
    }
    assert schema["required"] == list("abcdefghi")
    assert json.loads(described(weather).schema_json)["properties"]["unit"] == {"enum": ["C", "F"]}
    assert json.loads(described(wait).schema_json)["properties"]["seconds"] == {
        "type": "number",
        "description": "How long.",
    }


def anything(*things: str) -> None: ...


def a_lock(lock: threading.Lock) -> None: ...


def test_a_function_with_arguments_filled_in_is_described_by_itself_and_what_is_left() -> None:
    def weather(city: str, unit: str, days: int = 1) -> str:
        """Tells the weather."""
        return f"{city} {unit} {days}"

    tool = described(functools.partial(functools.partial(weather, unit="C"), days=2))
    assert (tool.name, tool.description) == ("weather", "Tells the weather.")
    schema = json.loads(tool.schema_json)
    assert schema["required"] == ["city"]
    assert schema["properties"]["city"] == {"type": "string"}


def test_an_object_that_can_be_called_is_described_by_its_call() -> None:
    class Weather:
        """Tells the weather."""

        def __call__(self, city: str) -> str:
            return city

    tool = described(Weather())
    assert (tool.name, tool.description) == ("Weather", "Tells the weather.")
    assert json.loads(tool.schema_json)["properties"] == {"city": {"type": "string"}}


@pytest.mark.parametrize(
    ("step", "name"), [("shop.price@2", "shop_price"), ("shop:price", "shop_price"), ("s" * 100, "s" * 64)]
)
def test_a_step_is_a_tool_by_a_name_that_models_take(step: str, name: str) -> None:
    [made] = Tools.of([step]).protos
    assert (made.name, made.step) == (name, step)


@pytest.mark.parametrize("tools", [[anything], [a_lock], [weather, weather], [3], "upper", weather])
async def test_what_cannot_be_a_tool_is_refused_before_anything_is_sent(
    client: AsyncClient, server: Server, tools: Any
) -> None:
    with pytest.raises(TypeError):
        await client.chat("hi", tools=tools)
    assert server.script.calls == []


# --- functions are called ---


async def test_functions_are_called_until_the_model_answers(client: AsyncClient, server: Server) -> None:
    talker = Talker(uses(("a", "weather", {"city": "Oslo"}), ("b", "wait", {"seconds": 1})))
    server.on["Converse"] = talker
    reply = await client.chat("go", tools=[weather, wait], system="Be brief.", options={"seed": 1})
    first, *results = talker.heard
    assert (first.chat.prompt, first.chat.system, first.chat.options.seed) == ("go", "Be brief.", 1)
    assert [tool.name for tool in first.chat.options.tools] == ["weather", "wait"]
    assert [(each.tool_result.tool_id, each.tool_result.result) for each in results] == [
        ("a", "12 C in Oslo"),
        ("b", '{"waited": 1}'),
    ]
    assert str(reply) == '{"waited": 1}'
    assert [message.role for message in reply.finished.messages] == [
        "assistant",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert server.script.count("Chat") == 0


async def test_what_a_function_raises_is_told_to_the_model(client: AsyncClient, server: Server) -> None:
    talker = Talker(uses(("a", "fails", {})), uses(("b", "fails", {"what": 1})))
    server.on["Converse"] = talker
    await client.chat("go", tools=[fails])
    first, second = (request.tool_result for request in talker.heard[1:])
    assert (first.is_error, first.result) == (True, "ValueError: no such city")
    assert second.is_error
    assert second.result.startswith("TypeError")


class Unsaid(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def leaves() -> None:
    raise SystemExit(3)


def stops() -> None:
    raise StopIteration


def unsaid() -> None:
    raise Unsaid


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (leaves, "RuntimeError: it raised SystemExit"),
        (stops, "RuntimeError: it raised StopIteration"),
        (unsaid, "Unsaid"),
    ],
)
async def test_what_is_no_common_exception_is_told_to_the_model_too(
    client: AsyncClient, server: Server, function: Callable[[], None], told: str
) -> None:
    talker = Talker(uses(("a", function.__name__, {})))
    server.on["Converse"] = talker
    async with asyncio.timeout(HANG_S):
        await client.chat("go", tools=[function])
    result = talker.heard[1].tool_result
    assert (result.is_error, result.result) == (True, told)


async def test_a_function_that_returns_a_coroutine_is_waited_for(client: AsyncClient, server: Server) -> None:
    def later() -> Any:
        return wait(2)

    talker = Talker(uses(("a", "later", {})))
    server.on["Converse"] = talker
    await client.chat("go", tools=[later])
    assert talker.heard[1].tool_result.result == '{"waited": 2}'


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


@pytest.mark.parametrize(("limit", "calls"), [(0, 0), (2, 2)])
async def test_functions_are_called_for_no_more_turns_than_said(
    client: AsyncClient, server: Server, limit: int, calls: int
) -> None:
    talker = Talker(*(uses((str(number), "weather", {"city": "Oslo"})) for number in range(9)))
    server.on["Converse"] = talker
    reply = await client.chat("go", tools=[weather], max_tool_turns=limit)
    assert reply.finished.reason == "tool_use"
    assert len(talker.heard) == 1 + calls
    assert len(reply.finished.messages) == 1 + 2 * calls


async def test_a_tool_that_is_no_function_is_left_to_the_caller(client: AsyncClient, server: Server) -> None:
    talker = Talker(uses(("a", "other", {}), ("b", "weather", {"city": "Oslo"})))
    server.on["Converse"] = talker
    reply = await client.chat("go", tools=[weather, {"name": "other"}])
    assert reply.finished.reason == "tool_use"
    assert len(talker.heard) == 1


async def test_leaving_a_talk_of_functions_ends_the_call(client: AsyncClient, server: Server) -> None:
    async def endless(requests: Any, context: Any) -> AsyncGenerator[chat_pb2.ConverseResponse, None]:
        async for each in for_ever(None, context):
            kind = each.WhichOneof("event")
            assert kind is not None
            yield chat_pb2.ConverseResponse(turn=1, **{kind: getattr(each, kind)})

    server.on["Converse"] = endless
    async with aclosing(client.stream_chat("go", tools=[weather])) as events:
        await anext(events)
    assert await asyncio.to_thread(server.script.ended.wait, 10)


async def test_a_talk_that_fails_fails_as_any_call(client: AsyncClient, server: Server) -> None:
    async def refused(requests: Any, context: Any) -> AsyncGenerator[Any, None]:
        await refuse(context, grpc.StatusCode.UNAVAILABLE, reason="PROVIDER_OVERLOADED")
        yield

    server.on["Converse"] = refused
    with pytest.raises(errors.Unavailable):
        await client.chat("go", tools=[weather])


async def test_a_chat_with_functions_cannot_be_repeated_by_an_id(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest, match="request_id"):
        await client.chat("go", tools=[weather], request_id="r")


def test_a_program_without_asyncio_has_its_functions_called_too(blocking: Client, far_server: Server) -> None:
    def asks() -> str:
        return blocking.model("beta").name  # a call of its own, within a call

    far_server.on["Converse"] = Talker(uses(("a", "asks", {})))
    assert str(blocking.chat("go", tools=[asks])) == "beta"


# --- other options, and keys ---


async def test_steps_formats_ids_and_keys_are_sent(client: AsyncClient, server: Server) -> None:
    schema = {"type": "object", "b": 1, "a": 2}
    for ask in (client.chat, client.count_tokens):
        await ask(
            "hi",
            tools=["upper", "text.lower@2", {"name": "find", "schema": {"type": "object"}}],
            response_format=schema,
            provider_key="sk-mine",
        )
    sent = server.script.last("Chat")
    assert [(tool.name, tool.step) for tool in sent.options.tools] == [
        ("upper", "upper"),
        ("text_lower", "text.lower@2"),
        ("find", ""),
    ]
    assert json.loads(sent.options.response_format.schema_json) == schema
    assert server.script.last("CountTokens").options == sent.options
    assert all(metadata["x-provider-key"] == "sk-mine" for metadata in server.script.metadata)
    await client.chat("hi", request_id="r1", response_format="json")
    sent = server.script.last("Chat")
    assert (sent.request_id, sent.options.response_format.json_object) == ("r1", True)
    await client.chat("hi", response_format=Place)
    assert "near" in server.script.last("Chat").options.response_format.schema_json
    await client.chat("hi")
    assert not server.script.last("Chat").HasField("options")
    assert "x-provider-key" not in server.script.metadata[-1]


async def test_a_format_that_is_none_is_refused(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest):
        await client.chat("hi", response_format="xml")


# --- events ---


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


# --- talks and counts ---


async def turn(talk: stepwire.AsyncTalk) -> list[ChatEvent]:
    return [event async for event in talk.receive()]


async def test_a_talk_goes_turn_by_turn(client: AsyncClient, server: Server) -> None:
    talker = Talker([text("1"), finished("1")], uses(("a", "weather", {})))
    server.on["Converse"] = talker
    async with client.converse(model="m", conversation_id="c", tools=[weather], provider_key="k") as talk:
        assert talk.turn == 0
        await talk.send("one", messages=["zero"])
        assert str((await turn(talk))[1].text) == "1"
        await talk.send("two", options={"seed": 2})
        await turn(talk)
        await talk.answer("a", "sunny", is_error=True)
        assert (await turn(talk))[1].text == "sunny"
        assert talk.turn == 3
        await talk.finish()
    first, second, answer = talker.heard
    assert (first.chat.model, first.chat.conversation_id, first.chat.prompt) == ("m", "c", "one")
    assert [message.text for message in first.chat.messages] == ["zero"]
    assert (second.chat.prompt, second.chat.options.seed, second.chat.model) == ("two", 2, "")
    assert answer.tool_result == message_pb2.ToolResult(tool_id="a", result="sunny", is_error=True)
    assert server.script.metadata[0]["x-provider-key"] == "k"


async def test_other_options_leave_a_talk_its_tools_and_its_format(client: AsyncClient, server: Server) -> None:
    talker = Talker()
    server.on["Converse"] = talker
    async with client.converse(tools=[weather], response_format="json") as talk:
        for number in range(2):
            await talk.send("go", options={"seed": number})
            await turn(talk)
        await talk.send("go", options={"response_format": {"json_object": False}, "tools": [{"name": "other"}]})
        await turn(talk)
        await talk.finish()
    told = [request.chat.options for request in talker.heard]
    assert [[tool.name for tool in each.tools] for each in told] == [["weather"], ["weather"], ["other"]]
    assert [each.response_format.json_object for each in told] == [True, True, False]
    assert [each.seed for each in told] == [0, 1, 0]


async def test_what_is_wrong_with_a_turn_is_told_where_it_is_read(client: AsyncClient, server: Server) -> None:
    async def refused(requests: Any, context: Any) -> AsyncGenerator[Any, None]:
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, reason="FIELD_INVALID")
        yield

    server.on["Converse"] = refused
    async with client.converse() as talk:
        await talk.send("hi")
        with pytest.raises(errors.InvalidRequest):
            await turn(talk)
        await talk.send("more")  # to nobody, and no error of its own


def test_a_talk_without_asyncio(blocking: Client) -> None:
    with blocking.converse(system="Be brief.") as talk:
        for words in ("one", "two"):
            talk.send(words)
            assert "".join(event.text for event in talk.receive()) == f"you said {words}"
        assert talk.turn == 2
        talk.finish()


async def test_tokens_are_counted(client: AsyncClient) -> None:
    count = await client.count_tokens("a b c")
    assert (int(count), count.is_estimated, count.model, count.context_length) == (3, True, "scripted-1", 100)


# --- conversations that are kept here ---


async def test_a_local_conversation_keeps_what_its_functions_answered(client: AsyncClient, server: Server) -> None:
    server.on["Converse"] = Talker(uses(("a", "weather", {"city": "Oslo"})))
    talk = AsyncConversation(client)
    await talk.chat("go", tools=[weather])
    said = [(message.role, message.text or message.tool_result.result) for message in await talk.get_messages()]
    assert said == [("user", "go"), ("assistant", ""), ("tool", "12 C in Oslo"), ("assistant", "12 C in Oslo")]


async def test_a_mistyped_argument_leaves_no_prompt_behind(client: AsyncClient) -> None:
    talk = AsyncConversation(client)
    with pytest.raises(TypeError):
        await talk.chat("hi", modle="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        async for _ in talk.stream_chat("hi", modle="x"):  # type: ignore[call-arg]
            pass
    with pytest.raises(TypeError):
        await talk.chat("hi", tools=[anything])
    assert await talk.get_messages() == []


def test_nor_does_it_without_asyncio(blocking: Client) -> None:
    talk = Conversation(blocking)
    with pytest.raises(TypeError):
        talk.chat("hi", modle="x")  # type: ignore[call-arg]
    assert talk.get_messages() == []


async def test_a_reader_that_raises_leaves_the_prompt(client: AsyncClient) -> None:
    talk = AsyncConversation(client)

    async def read() -> None:
        async with aclosing(talk.stream_chat("hi")) as events:
            async for _ in events:
                raise LookupError

    with pytest.raises(LookupError):
        await read()
    assert [message.text for message in await talk.get_messages()] == ["hi"]
