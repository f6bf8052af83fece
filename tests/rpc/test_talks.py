"""Talks that go on behind an empty reply, and talks that are cancelled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

from stepwire.v1 import chat_pb2
from stepwired.events import Batch, ChatRequest, Finished, FinishReason, Usage
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.rpc.lines import Line, Model, texts
from tests.rpc.serving import STARTED, finished, serve, until


class Silent:
    """Says nothing to what is asked first, and echoes what comes later."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        if len(self.asked) == 1:
            yield [STARTED, Finished(FinishReason.STOP, "echo-1", "scripted", Usage(), ())]
        else:
            yield [STARTED, finished(request.messages[-1].text)]


async def test_a_talk_goes_on_from_its_own_last_message_behind_an_empty_reply(tmp_path: Path) -> None:
    model = Silent()
    store = await SqliteStore.open(tmp_path)
    try:
        await store.create("c1")
        async with serve(recorded(model, store), store=store) as client:
            line = Line(client)
            await line.chat("mine 1", conversation_id="c1")
            await line.turn()
            await client.chat.Chat(chat_pb2.ChatRequest(conversation_id="c1", prompt="another's"))
            await line.chat("mine 2")
            await line.turn()
            await line.end()
    finally:
        await store.close()
    assert [texts(request) for request in model.asked] == [["mine 1"], ["mine 1", "another's"], ["mine 1", "mine 2"]]


async def test_a_talk_that_is_cancelled_between_two_turns_is_told_from_one_that_ended() -> None:
    async with serve(Model()) as client:
        for _ in range(20):
            line = Line(client)
            await line.chat("hi")
            await line.turn()
            line.call.cancel()
        await until(lambda: len(client.metrics.calls) == 20)
        assert {code for _, code, _ in client.metrics.calls} == {"CANCELLED"}
