"""Chats that may be repeated: through the wire, over a real store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2
from stepwired.events import Batch, ChatRequest, Message, Role, TextDelta, ToolUse
from stepwired.store.nouns import KEEP_ANSWER_S
from stepwired.store.repeating import repeatable
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.rpc.keeping import Asking
from tests.rpc.serving import SOON_S, STARTED, Client, Told, finished, serve, told, within
from tests.rpc.trying import Model


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def served(folder: Path, model: Model, clock: Clock | None = None) -> AsyncGenerator[Client]:
    store = await SqliteStore.open(folder, monotonic_s=clock or time.monotonic)
    try:
        chat = repeatable(recorded(model.chat, store), store)
        async with serve(chat, store=store) as client:
            yield client
    finally:
        await store.close()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def client(tmp_path: Path, model: Model) -> AsyncGenerator[Client]:
    async with served(tmp_path, model) as client:
        yield client


def request(**fields: Any) -> chat_pb2.StreamChatRequest:
    return json_format.ParseDict({"prompt": "hi", "request_id": "r1", **fields}, chat_pb2.StreamChatRequest())


async def stream(client: Client, **fields: Any) -> list[chat_pb2.StreamChatResponse]:
    return [event async for event in client.chat.StreamChat(request(**fields))]


async def failing(client: Client, **fields: Any) -> Told:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await within(stream(client, **fields))
    return told(caught.value)


async def until_free(client: Client, **fields: Any) -> list[chat_pb2.StreamChatResponse]:
    """Repeat a call until the one before it, which was cancelled, is gone."""
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                return await stream(client, **fields)
            except grpc.aio.AioRpcError as error:
                if told(error).reason != "REQUEST_IN_PROGRESS":
                    raise


async def test_a_repeat_gets_the_reply_that_is_kept_as_one_piece(client: Client, model: Model) -> None:
    first = await stream(client)
    again = await stream(client)
    assert len(model.asked) == 1
    assert [event.WhichOneof("event") for event in again] == ["started", "text_delta", "finished"]
    assert (first[0].started.replayed, again[0].started.replayed) == (False, True)
    assert (again[0].started.model, again[0].started.provider) == ("echo-1", "scripted")
    assert again[1].text_delta.text == "reply 1!"
    assert [each.token for each in again[1].text_delta.logprobs] == ["reply"]
    for end in (first[-1].finished, again[-1].finished):
        end.ClearField("first_event_latency")
    assert again[-1] == first[-1]


async def test_without_an_id_each_call_asks_anew(client: Client, model: Model) -> None:
    for _ in range(2):
        await stream(client, request_id="")
    assert len(model.asked) == 2


async def test_the_collected_call_has_ids_of_its_own(client: Client, model: Model) -> None:
    await stream(client)
    replies = [await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi", request_id="r1")) for _ in range(2)]
    assert [reply.replayed for reply in replies] == [False, True]
    assert {reply.text for reply in replies} == {"reply 2!"}
    assert [len(reply.logprobs) for reply in replies] == [1, 1]
    assert len(model.asked) == 2


async def test_a_repeat_while_the_first_runs_is_told_to_wait(client: Client, model: Model) -> None:
    model.waits = asyncio.Event()
    first = asyncio.create_task(stream(client))
    await within(model.reached.wait())
    error = await failing(client)
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "REQUEST_IN_PROGRESS")
    assert error.retry_after_s == 1.0
    assert (await failing(client, prompt="other")).reason == "REQUEST_ID_MISMATCH"
    model.waits.set()
    await within(first)
    assert (await stream(client))[0].started.replayed
    assert len(model.asked) == 1


@pytest.mark.parametrize("fields", [{"prompt": "ho"}, {"model": "m"}, {"options": {"seed": 1}}])
async def test_another_request_with_the_id_is_refused(client: Client, fields: dict[str, Any]) -> None:
    await stream(client)
    error = await failing(client, **fields)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_MISMATCH")
    assert error.fields == [("request_id", "REQUEST_ID_MISMATCH")]


async def test_a_call_that_failed_runs_anew_and_another_request_is_still_refused(client: Client, model: Model) -> None:
    model.fails = True
    assert (await failing(client)).reason == "PROVIDER_STREAM_TRUNCATED"
    assert (await failing(client, prompt="other")).reason == "REQUEST_ID_MISMATCH"
    model.fails = False
    again = await stream(client)
    assert (again[0].started.replayed, again[-1].finished.messages[0].text) == (False, "reply 2!")
    assert (await stream(client))[0].started.replayed


async def test_a_reply_outlives_the_server(tmp_path: Path, model: Model) -> None:
    async with served(tmp_path, model) as client:
        await stream(client)
    async with served(tmp_path, model) as client:
        assert (await stream(client))[0].started.replayed
    assert len(model.asked) == 1


async def test_a_reply_is_kept_for_a_day(tmp_path: Path, model: Model) -> None:
    clock = Clock()
    async with served(tmp_path, model, clock) as client:
        await stream(client)
        clock.now_s = KEEP_ANSWER_S
        assert (await stream(client))[0].started.replayed
        clock.now_s = KEEP_ANSWER_S + 1
        assert (await stream(client, prompt="other"))[-1].finished.messages[0].text == "reply 2!"
        assert (await stream(client, prompt="other"))[0].started.replayed


async def test_what_was_kept_long_enough_goes(tmp_path: Path) -> None:
    clock = Clock()
    model = Model()
    store = await SqliteStore.open(tmp_path, monotonic_s=clock)
    chat = repeatable(recorded(model.chat, store), store)
    async with serve(chat, store=store) as client:
        for number in range(50):
            await stream(client, request_id=f"r{number}")
        clock.now_s = KEEP_ANSWER_S + 100
        for number in range(4):
            await store.create(f"c{number}")
    rows = await store._core.readers.read(lambda db: db.execute("SELECT count(*) FROM reply").fetchone())
    await store.close()
    assert rows == (0,)


# --- in a conversation ---


@pytest.fixture
async def ask(client: Client) -> Asking:
    ask = Asking(client)
    await ask.CreateConversation(conversation_id="c")
    return ask


async def test_a_repeat_in_a_conversation_appends_nothing(client: Client, ask: Asking) -> None:
    first = await stream(client, conversation_id="c", if_revision=1)
    again = await stream(client, conversation_id="c", if_revision=1)
    assert again[-1].finished.messages == first[-1].finished.messages
    assert again[-1].finished.HasField("branched")
    assert [message.text for message in await ask.messages()] == ["hi", "reply 1!"]


@pytest.mark.parametrize("before_text", [False, True])
async def test_after_a_failure_the_question_is_there_once_and_the_reply_is_the_head(
    client: Client, ask: Asking, model: Model, *, before_text: bool
) -> None:
    model.fails, model.before_text = not before_text, before_text
    await failing(client, conversation_id="c", if_revision=1)
    model.fails = model.before_text = False
    again = await stream(client, conversation_id="c", if_revision=1)
    assert not again[-1].finished.branched
    assert [message.text for message in await ask.messages()] == ["hi", "reply 2!"]
    assert [message.text for message in model.asked[-1].messages] == ["hi"]
    left = [] if before_text else ["reply 1"]
    everything = await ask.messages(view="MESSAGE_VIEW_ALL")
    assert [message.text for message in everything] == ["hi", *left, "reply 2!"]
    assert (await stream(client, conversation_id="c", if_revision=1))[0].started.replayed


async def test_a_call_that_was_cancelled_runs_anew(client: Client, ask: Asking, model: Model) -> None:
    model.waits = asyncio.Event()
    call = client.chat.StreamChat(request(conversation_id="c"))
    await within(call.read())
    await within(model.reached.wait())
    call.cancel()
    model.waits = None
    again = await until_free(client, conversation_id="c")
    assert not again[-1].finished.branched
    assert [message.text for message in await ask.messages()] == ["hi", "reply 2!"]


async def test_who_spoke_after_the_failure_keeps_the_head(client: Client, ask: Asking, model: Model) -> None:
    model.fails = True
    await failing(client, conversation_id="c")
    await ask.AppendMessages(conversation_id="c", messages=[{"text": "hello?"}])
    model.fails = False
    again = await stream(client, conversation_id="c")
    assert again[-1].finished.branched
    assert [message.text for message in await ask.messages()] == ["hi", "reply 1", "hello?"]


async def test_when_the_conversation_is_gone_a_repeat_asks_nobody(client: Client, ask: Asking, model: Model) -> None:
    await stream(client, conversation_id="c")
    await ask.DeleteConversation(conversation_id="c")
    assert (await failing(client, conversation_id="c")).reason == "CONVERSATION_NOT_FOUND"
    await ask.CreateConversation(conversation_id="c")
    assert (await failing(client, conversation_id="c")).reason == "CONVERSATION_NOT_FOUND"
    assert len(model.asked) == 1


async def test_a_request_that_is_refused_takes_no_id(client: Client, ask: Asking) -> None:
    assert (await failing(client, conversation_id="no")).reason == "CONVERSATION_NOT_FOUND"
    assert not (await stream(client, conversation_id="c"))[0].started.replayed


async def test_a_kept_reply_has_all_that_it_had(tmp_path: Path) -> None:
    use = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {"q": ["fox", 1, None]}))

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        end = finished("Let me see.")
        yield [STARTED, TextDelta("Let me see."), type(end)(end.reason, "m", "p", end.usage, (*end.messages, use))]

    store = await SqliteStore.open(tmp_path)
    async with serve(repeatable(recorded(chat, store), store), store=store) as client:
        first, again = await stream(client), await stream(client)
    await store.close()
    assert again[-1].finished.messages == first[-1].finished.messages
    assert again[1].text_delta.text == "Let me see."
