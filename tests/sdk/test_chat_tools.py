"""Chats with functions as tools: which are called, what the model is told of them, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, Client, errors
from stepwire.v1 import chat_pb2
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, for_ever
from tests.sdk.stepping import HANG_S
from tests.sdk.tooling import Talker, uses, wait, weather


def fails() -> None:
    raise ValueError("no such city")


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
