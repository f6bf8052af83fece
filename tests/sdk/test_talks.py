"""Replies in a conversation that is kept here: what is sent, what stays, and where the head goes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, AsyncConversation, Finished, errors
from stepwire.v1.message_pb2 import MESSAGE_STATUS_COMPLETE, MESSAGE_STATUS_INTERRUPTED
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, for_ever, started


async def said(conversation: AsyncConversation, view: Any = "head_path") -> list[str]:
    return [message.text for message in await conversation.get_messages(view)]


async def test_a_model_is_sent_the_path_to_the_head_without_what_is_hidden(client: AsyncClient, server: Server) -> None:
    talk = AsyncConversation(client)
    first = await talk.add_message("user", "one")
    await talk.add_message("assistant", "never sent")
    await talk.add_message("assistant", "two", parent_id=first)
    await talk.add_message("user", "secret", metadata={"hidden": True})
    await talk.chat("three", model="alpha", system="brief", options={"seed": 1})
    sent = server.script.last("Chat")
    assert [(message.role, message.text) for message in sent.messages] == [
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert (sent.model, sent.system, sent.options.seed, sent.conversation_id) == ("alpha", "brief", 1, "")
    assert not any(message.id or message.parent_id or message.metadata.fields for message in sent.messages)
    assert await said(talk) == ["one", "two", "secret", "three", "you said three"]


async def test_a_prompt_stays_when_its_reply_fails(client: AsyncClient, server: Server) -> None:
    async def fails(request: Any, context: Any) -> None:
        await refuse(context, grpc.StatusCode.UNAVAILABLE, reason="PROVIDER_OVERLOADED")

    server.on["Chat"] = fails
    talk = AsyncConversation(client)
    with pytest.raises(errors.Unavailable):
        await talk.chat("hi")
    assert await said(talk) == ["hi"]


async def test_what_had_come_of_a_reply_that_was_left_is_kept_as_interrupted(
    client: AsyncClient, server: Server
) -> None:
    server.on["StreamChat"] = for_ever
    talk = AsyncConversation(client)
    async with aclosing(talk.stream_chat("hi")) as events:
        async for event in events:
            if event.text:
                break
    messages = await talk.get_messages()
    assert [(message.text, message.status) for message in messages] == [
        ("hi", MESSAGE_STATUS_COMPLETE),
        ("once ", MESSAGE_STATUS_INTERRUPTED),
    ]


async def test_a_reply_that_was_left_before_its_first_word_is_not_kept(client: AsyncClient, server: Server) -> None:
    async def silent(request: Any, context: Any) -> Any:
        yield started()
        await asyncio.Event().wait()

    server.on["StreamChat"] = silent
    talk = AsyncConversation(client)
    async with aclosing(talk.stream_chat("hi")) as events:
        await anext(events)
    assert await said(talk) == ["hi"]


async def test_two_replies_at_once_make_two_branches(client: AsyncClient) -> None:
    talk = AsyncConversation(client)
    first = talk.stream_chat("first")
    await anext(first)
    second = await talk.chat("second")
    *_, last = [event async for event in first]
    assert isinstance(last, Finished)
    assert last.branched is True
    assert second.finished.branched is False
    assert await said(talk) == ["first", "second", "you said second"]
    assert await said(talk, "all") == ["first", "second", "you said second", "you said first"]
    assert last.messages[0].parent_id == (await talk.get_messages())[0].id


async def test_a_reply_may_go_on_from_any_message(client: AsyncClient, server: Server) -> None:
    talk = AsyncConversation(client)
    first = await talk.add_message("user", "one")
    await talk.add_message("assistant", "two")
    reply = await talk.chat(parent_id=first)
    assert [message.text for message in server.script.last("Chat").messages] == ["one"]
    assert reply.finished.branched is True
    assert await said(talk) == ["one", "two"]
    await talk.chat("three", parent_id=first)
    assert await said(talk) == ["one", "three", "you said three"]
