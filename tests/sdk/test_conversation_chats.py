"""What a conversation that is kept here keeps of a chat: answers of functions, and of a prompt that came to nothing."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from stepwire import AsyncClient, AsyncConversation, Client, Conversation
from tests.sdk.scripted import Server
from tests.sdk.tooling import Talker, anything, uses, weather


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
