"""Tools that run on the real server: pipelines that a scripted model calls, conversations, and the real local model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from stepwire.v1 import (
    chat_pb2,
    chat_pb2_grpc,
    conversation_pb2,
    conversation_pb2_grpc,
    step_run_pb2,
    step_run_pb2_grpc,
)
from tests.e2e.conftest import settings
from tests.e2e.test_pipelines import Caller
from tests.fakeprov import Behaviour, Exchange, Provider
from tests.fakeprov.behaviours import chunk, in_turn, reply, stalled, stream, usage
from tests.program import HANG_S, Program, running
from tests.rpc.serving import told, within

ALLOW = '\n[tools]\nallow = ["weather", "slow", "bare"]\n'
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: list[dict[str, Any]] = [{"render": {"template": "12 degrees in {{city}}"}}]
TOOL = {"name": "weather", "step": "weather"}


def calling(*calls: tuple[str, dict[str, Any]], before: str = "") -> Behaviour:
    """A reply that says something and calls tools."""
    uses = [
        {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": json.dumps(given)}}
        for index, (name, given) in enumerate(calls)
    ]
    said = chunk(before) if before else b""
    return stream(said + chunk(tool_calls=uses) + chunk(finish="tool_calls") + usage(7, 3) + b"data: [DONE]\n\n")


OSLO = ("weather", {"city": "Oslo"})


class Talked:
    """A server whose model is scripted, with a pipeline that may be a tool."""

    def __init__(self, program: Program, provider: Provider, channel: grpc.aio.Channel) -> None:
        self.program = program
        self.provider = provider
        self.chat: Any = chat_pb2_grpc.ChatServiceStub(channel)
        self.conversations: Any = conversation_pb2_grpc.ConversationServiceStub(channel)
        self.steps: Any = step_run_pb2_grpc.StepRunServiceStub(channel)
        self.pipelines = Caller(channel)

    async def ask(self, **fields: Any) -> list[chat_pb2.StreamChatResponse]:
        call = self.chat.StreamChat(request(**fields), timeout=HANG_S)
        return [each async for each in call]

    async def stored(self) -> list[dict[str, Any]]:
        asked = conversation_pb2.StreamMessagesRequest(conversation_id="c")
        found = [message async for page in self.conversations.StreamMessages(asked) for message in page.messages]
        return [json_format.MessageToDict(message, preserving_proto_field_name=True) for message in found]


def request(**fields: Any) -> chat_pb2.StreamChatRequest:
    return json_format.ParseDict({"prompt": "Is it warm?", **fields}, chat_pb2.StreamChatRequest())


def kinds(events: list[chat_pb2.StreamChatResponse]) -> list[str | None]:
    return [event.WhichOneof("event") for event in events]


@pytest.fixture
async def talked(tmp_path: Path) -> AsyncGenerator[Talked]:
    async with (
        Provider(in_turn(calling(OSLO, before="Let me see. "), reply(["It is ", "cold."]))) as provider,
        running(tmp_path, settings(provider) + ALLOW) as program,
        program.channel() as channel,
    ):
        made = Talked(program, provider, channel)
        await made.pipelines.save("weather", WEATHER, description="Tells the weather.", input_schema=CITY)
        yield made


async def test_a_pipeline_is_a_tool_and_its_answer_reaches_the_model(talked: Talked) -> None:
    events = await talked.ask(options={"tools": [TOOL]})
    finished = events[-1].finished
    assert [each for each in kinds(events) if each != "text_delta"] == [
        *["started", "tool_call", "tool_call", "tool_result", "finished"]
    ]
    text = "".join(event.text_delta.text for event in events)
    assert text == "".join(message.text for message in finished.messages) == "Let me see. It is cold."
    assert (finished.turns, len(finished.attempts)) == (2, 2)
    assert (finished.usage.input_token_count, finished.usage.output_token_count) == (10, 5)
    result = next(message for message in finished.messages if message.HasField("tool_result"))
    assert result.tool_result.result == "12 degrees in Oslo"
    run = json_format.MessageToDict(result.metadata)["run"]
    assert (run["step"], run["version"]) == ("weather", "1")
    first, second = (asked.json() for asked in talked.provider.requests)
    assert first["tools"][0]["function"] == {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": CITY,
    }
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
    assert second["messages"][2] == {"role": "tool", "tool_call_id": "c0", "content": "12 degrees in Oslo"}


async def test_the_whole_exchange_can_be_sent_back(talked: Talked) -> None:
    finished = (await talked.ask(options={"tools": [TOOL]}))[-1].finished
    again = chat_pb2.StreamChatRequest(prompt="Thanks.", messages=finished.messages)
    talked.provider.behaviour = reply()
    events = [each async for each in talked.chat.StreamChat(again, timeout=HANG_S)]
    assert events[-1].HasField("finished")
    assert len(talked.provider.requests[-1].json()["messages"]) == 4


async def test_a_conversation_keeps_the_whole_exchange(talked: Talked) -> None:
    await talked.conversations.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
    await talked.ask(conversation_id="c", options={"tools": [TOOL]})
    said = await talked.stored()
    assert [set(message) & {"text", "tool_use", "tool_result"} for message in said] == [
        *[{"text"}, {"text"}, {"tool_use"}, {"tool_result"}, {"text"}]
    ]


async def test_a_reply_that_is_cut_off_in_its_second_turn_keeps_the_call_that_was_answered(talked: Talked) -> None:
    talked.provider.behaviour = in_turn(calling(OSLO), stalled(["It "]))
    await talked.conversations.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
    call = talked.chat.StreamChat(request(conversation_id="c", options={"tools": [TOOL]}), timeout=HANG_S)
    async for event in call:
        if event.text_delta.text:
            break
    call.cancel()
    await within(_until(lambda: _counted(talked, 4)))
    said = await talked.stored()
    assert [message.get("status") for message in said[1:]] == ["MESSAGE_STATUS_INTERRUPTED"] * 3
    assert said[2]["tool_result"]["result"] == "12 degrees in Oslo"


async def _counted(talked: Talked, count: int) -> bool:
    return len(await talked.stored()) == count


async def _until(is_so: Any) -> None:
    while not await is_so():
        pass


SLOW: list[dict[str, Any]] = [{"render": {"template": "Think of {{city}}."}}, {"chat": {"model": "fake"}}]


class Slowly:
    """A model that calls `slow`, which asks it something that it never answers; and has an answer to whatever came."""

    def __init__(self) -> None:
        self.thinks = asyncio.Event()
        self.was_left = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        last = exchange.request.json()["messages"][-1]
        if last["role"] == "tool":
            await reply(["Never mind."])(exchange)
        elif last["content"] == "Think of Oslo.":
            self.thinks.set()
            try:
                await exchange.gone()
            finally:
                self.was_left.set()
        else:
            await calling(("slow", {"city": "Oslo"}))(exchange)


async def test_a_tool_that_takes_too_long_is_ended_and_the_model_is_told(talked: Talked) -> None:
    await talked.pipelines.save("slow", SLOW, input_schema=CITY)
    talked.provider.behaviour = Slowly()
    events = await talked.ask(options={"tools": [{"name": "slow", "step": "slow"}], "tool_timeout": "0.3s"})
    (result,) = (event.tool_result for event in events if event.HasField("tool_result"))
    assert result.is_error
    assert json.loads(result.result)["error"]["reason"] == "STEP_TIMEOUT"
    assert events[-1].finished.messages[-1].text == "Never mind."


async def test_a_cancelled_call_ends_the_tools_that_run(talked: Talked) -> None:
    await talked.pipelines.save("slow", SLOW, input_schema=CITY)
    talked.provider.behaviour = model = Slowly()
    call = talked.chat.StreamChat(request(options={"tools": [{"name": "slow", "step": "slow"}]}), timeout=HANG_S)
    async for event in call:
        if event.tool_call.HasField("tool_use"):
            break
    await within(model.thinks.wait())
    call.cancel()
    await within(model.was_left.wait())
    assert len(talked.provider.requests) == 2, "nobody was asked again"


@pytest.mark.parametrize("step", ["upper", "nobody", "bare", "weather@9"])
async def test_a_step_that_is_not_allowed_has_no_schema_or_is_not_there_is_refused_by_its_field(
    talked: Talked, step: str
) -> None:
    await talked.pipelines.save("bare", WEATHER)
    await talked.conversations.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await talked.ask(conversation_id="c", options={"tools": [TOOL, {"name": "other", "step": step}]})
    said = told(refused.value)
    assert (refused.value.code(), said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOOL_NOT_ALLOWED")
    assert "options.tools[1].step" in str(said)
    assert not talked.provider.requests
    assert not await talked.stored(), "nothing is stored that nobody will answer"


async def test_lists_show_which_steps_may_be_tools(talked: Talked) -> None:
    listed = await talked.steps.ListSteps(step_run_pb2.ListStepsRequest(page_size=1000))
    assert [step.name for step in listed.steps if step.is_tool] == ["weather"]


async def test_what_a_tool_takes_is_counted_by_its_steps_own_schema(talked: Talked) -> None:
    given: dict[str, Any] = {"prompt": "hi", "options": {"tools": [TOOL]}}
    counted = await talked.chat.CountTokens(json_format.ParseDict(given, chat_pb2.CountTokensRequest()))
    bare = await talked.chat.CountTokens(chat_pb2.CountTokensRequest(prompt="hi"))
    assert counted.input_token_count > bare.input_token_count + 20


async def test_a_reply_of_the_wrong_form_is_asked_for_once_more(talked: Talked) -> None:
    talked.provider.behaviour = in_turn(reply(['{"n":', '"x"}']), reply(['{"n":', "1}"]))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    events = await talked.ask(options={"response_format": {"schema": schema, "retry": True}})
    assert "restarted" in kinds(events)
    finished = events[-1].finished
    assert json_format.MessageToDict(finished.structured) == {"n": 1}
    assert [attempt.reason for attempt in finished.attempts] == ["STRUCTURED_OUTPUT_INVALID", ""]
    shown = talked.provider.requests[-1].json()["messages"]
    assert [message["role"] for message in shown] == ["user", "assistant", "user"]


# The real local model.


@pytest.fixture(scope="module")
async def local(data_dir: Path) -> AsyncGenerator[Program]:
    async with running(data_dir, ALLOW) as program:
        yield program


async def test_the_local_model_is_held_to_a_schema(local: Program) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "lives": {"type": "integer", "maximum": 9}},
        "required": ["name", "lives"],
        "additionalProperties": False,
    }
    options = {"response_format": {"schema": schema}, "temperature": 0, "seed": 1, "max_tokens": 80}
    async with local.channel() as channel:
        stub: Any = chat_pb2_grpc.ChatServiceStub(channel)
        call = stub.StreamChat(request(prompt="Describe a cat called Tom.", options=options), timeout=HANG_S)
        events = [each async for each in call]
    cat = json_format.MessageToDict(events[-1].finished.structured)
    assert set(cat) == {"name", "lives"}


async def test_the_local_model_calls_a_tool_where_it_has_to_and_answers_in_words(local: Program) -> None:
    async with local.channel() as channel:
        await Caller(channel).save("weather", WEATHER, description="Tells the weather.", input_schema=CITY)
        stub: Any = chat_pb2_grpc.ChatServiceStub(channel)
        schema = {**CITY, "properties": {"city": {"type": "string", "maxLength": 12}}, "additionalProperties": False}
        tool = {**TOOL, "schema": schema}
        options = {"tools": [tool], "tool_choice": "required", "temperature": 0, "seed": 1, "max_tokens": 60}
        asked = request(prompt="Is it warm in Oslo?", options=options)
        events = [each async for each in stub.StreamChat(asked, timeout=HANG_S)]
        options["tool_choice"] = "auto"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Chat(json_format.ParseDict({"prompt": "hi", "options": options}, chat_pb2.ChatRequest()))
    finished = events[-1].finished
    called = next(message.tool_use for message in finished.messages if message.HasField("tool_use"))
    assert called.name == "weather"
    (result,) = (event.tool_result.result for event in events if event.HasField("tool_result"))
    assert result == f"12 degrees in {called.input['city']}"
    assert finished.turns == 2
    assert finished.messages[-1].text
    assert told(refused.value).reason == "MODEL_FEATURE_UNSUPPORTED"
    assert "options.tool_choice" in str(told(refused.value))
