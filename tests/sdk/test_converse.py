"""Talks of the SDK, turn by turn: what is sent, and where it is told what was wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest

import stepwire
from stepwire import AsyncClient, ChatEvent, Client, errors
from stepwire.v1 import message_pb2
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, finished, text
from tests.sdk.tooling import Talker, uses, weather


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
