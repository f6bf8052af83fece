"""What ends a talk: messages that are wrong or out of turn, turns that fail, silence, size, callers who said all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwired.errors import Reason, Unavailable
from stepwired.events import Batch, ChatRequest, TextDelta
from stepwired.limits import Limits
from tests.rpc.lines import Model, talking, wants
from tests.rpc.serving import STARTED, within

CHAT = {"chat": {"prompt": "hi"}}
RESULT = {"tool_result": {"tool_id": "a", "result": "x"}}


@pytest.mark.parametrize(
    ("said", "field", "reason"),
    [
        ([RESULT], "tool_result", "FIELD_INVALID"),
        ([{}], "chat", "FIELD_REQUIRED"),
        ([{"chat": {}}], "chat.prompt", "INVALID_CONVERSATION"),
        ([{"chat": {"prompt": "hi", "request_id": "r"}}], "chat.request_id", "FIELD_INVALID"),
        ([{"chat": {"prompt": "hi", "options": {"top_p": 2}}}], "chat.options.top_p", "MODEL_CONFIG_INVALID"),
        ([{"chat": {"messages": [{"role": "?", "text": "x"}]}}], "chat.messages[0].role", "INVALID_MESSAGE"),
        ([CHAT, CHAT], "chat", "FIELD_INVALID"),
        ([CHAT, {}], "tool_result", "FIELD_REQUIRED"),
        ([CHAT, {"tool_result": {"tool_id": "z"}}], "tool_result.tool_id", "FIELD_INVALID"),
        ([CHAT, {"tool_result": {"result": "x"}}], "tool_result.tool_id", "FIELD_REQUIRED"),
        ([CHAT, RESULT, RESULT], "tool_result.tool_id", "FIELD_INVALID"),
        ([CHAT, RESULT, {"tool_result": {"tool_id": "b"}}, RESULT], "tool_result", "FIELD_INVALID"),
        ([CHAT, RESULT, {"tool_result": {"tool_id": "b"}}, {"chat": {}}], "chat.prompt", "INVALID_CONVERSATION"),
        *(
            (
                [CHAT, RESULT, {"tool_result": {"tool_id": "b"}}, {"chat": {"prompt": "x", name: value}}],
                f"chat.{name}",
                r,
            )
            for name, value, r in [
                ("model", "m", "FIELD_INVALID"),
                ("system", "s", "FIELD_INVALID"),
                ("conversation_id", "c", "FIELD_INVALID"),
                ("parent_id", "p", "FIELD_INVALID"),
                ("if_revision", 0, "FIELD_INVALID"),
                ("request_id", "r", "FIELD_INVALID"),
                ("options", {"seed": -1}, "MODEL_CONFIG_INVALID"),
            ]
        ),
    ],
)
async def test_a_message_out_of_turn_or_wrong_is_named(said: list[dict[str, Any]], field: str, reason: str) -> None:
    async with talking(Model(wants("a", "b"))) as line:
        for each in said:
            await line.say(**each)
        error = await line.failure()
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert error.fields[0][0].startswith(field)


async def test_a_turn_that_fails_ends_the_call() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("Hel")]
        raise Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "broke off")

    async with talking(chat) as line:
        await line.chat("hi")
        error = await line.failure()
    assert error.reason == "PROVIDER_STREAM_TRUNCATED"
    assert error.facts["partial"] == "true"


async def test_who_says_nothing_at_all_ends_well() -> None:
    async with talking(Model()) as line:
        await line.end()


async def test_tool_calls_may_be_left_unanswered() -> None:
    async with talking(Model(wants("a"))) as line:
        await line.chat("go")
        await line.turn()
        await line.end()


async def test_a_turn_is_finished_for_a_caller_who_has_closed_its_half() -> None:
    async with talking(Model()) as line:
        await line.chat("one")
        await line.chat("two")
        await line.call.done_writing()
        await line.turn()
        assert (await line.turn())[-1].finished.messages[0].text == "two"
        assert await within(line.call.read()) is grpc.aio.EOF
        assert await within(line.call.code()) is grpc.StatusCode.OK


async def test_who_says_nothing_between_two_turns_is_ended() -> None:
    async with talking(Model(), limits=Limits(talk_idle_s=0.05)) as line:
        await line.chat("one")
        error = await line.failure()
    assert (error.reason, error.facts) == ("SLOW_PRODUCER", {"limitSeconds": "0.05", "partial": "true"})


async def test_a_talk_is_no_longer_than_one_request() -> None:
    for limits, reason in (
        (Limits(append_messages=4), "FIELD_INVALID"),
        (Limits(request_text_bytes=40), "CONTEXT_LENGTH_EXCEEDED"),
    ):
        async with talking(Model(), limits=limits) as line:
            for _ in range(3):
                await line.chat("ten bytes.")
            error = await line.failure()
        assert (error.reason, error.fields[0][0]) == (reason, "chat.messages")
