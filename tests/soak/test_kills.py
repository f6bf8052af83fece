"""Kill -9, again and again, under eight writers: what was acknowledged stays, once, and in its order.

`STEPWIRE_KILLS` says how often; `make soak` says 200.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import grpc
import pytest

from stepwire.v1 import conversation_pb2, conversation_pb2_grpc, message_pb2
from tests.program import running
from tests.soak.serving import SETTINGS

KILLS = int(os.environ.get("STEPWIRE_KILLS", "20"))
WRITERS = 8
BETWEEN_S = (0.05, 0.4)
"""How long the writers write before the next kill."""

Stub = Any  # its type is known to type checkers alone


@dataclass
class Writer:
    """One caller. Keeps, as on a disk of its own, what was acknowledged, and repeats what was not."""

    name: int
    number: int = 0
    acked: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By text: the id that the message got, and the conversation's revision that it made."""

    created: set[str] = field(default_factory=set)
    marked: dict[str, int] = field(default_factory=dict)
    """By message id: the last number that its metadata was set to."""

    async def write(self, stub: Stub) -> None:
        """Write until the server is gone."""
        while True:
            text = f"{self.name}-{self.number}"
            try:
                await self._write_one(stub, text)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return
                raise
            self.number += 1

    async def _write_one(self, stub: Stub, text: str) -> None:
        answer = await stub.AppendMessages(
            conversation_pb2.AppendMessagesRequest(
                conversation_id="c", messages=[message_pb2.Message(text=text)], request_id=text
            )
        )
        [message_id] = answer.message_ids
        assert self.acked.setdefault(text, (message_id, answer.conversation.revision))[0] == message_id
        if self.number % 5 == 0:
            request = conversation_pb2.CreateConversationRequest(title=text, request_id=text)
            self.created.add((await stub.CreateConversation(request)).conversation.id)
        if self.number % 3 == 0:
            update = conversation_pb2.UpdateMessageRequest(conversation_id="c", message_id=message_id)
            update.metadata["n"] = self.number
            await stub.UpdateMessage(update)
            self.marked[message_id] = self.number


async def check(stub: Stub, writers: list[Writer]) -> int:
    """Compare what is stored with what was acknowledged; how many messages there are."""
    request = conversation_pb2.StreamMessagesRequest(
        conversation_id="c", view=conversation_pb2.MessageView.MESSAGE_VIEW_ALL
    )
    messages = [message async for response in stub.StreamMessages(request) for message in response.messages]
    place = {message.text: index for index, message in enumerate(messages)}
    assert len(place) == len(messages), "nothing was doubled"
    assert [message.parent_id for message in messages[1:]] == [message.id for message in messages[:-1]], "one line"
    acked = {text: ack for writer in writers for text, ack in writer.acked.items()}
    assert set(acked) <= set(place), "nothing was lost"
    by_revision = sorted(acked, key=lambda text: acked[text][1])
    assert by_revision == sorted(acked, key=lambda text: place[text]), "nothing changed places"
    for text, (message_id, _) in acked.items():
        assert messages[place[text]].id == message_id
    for writer in writers:
        numbers = [int(text.split("-")[1]) for text in place if text.startswith(f"{writer.name}-")]
        assert numbers == list(range(len(numbers))), "each after the one before it"
        assert len(numbers) in {writer.number, writer.number + 1}
    stored = {message.id: message for message in messages}
    for message_id, number in (mark for writer in writers for mark in writer.marked.items()):
        assert stored[message_id].metadata["n"] == number
    listed: set[str] = set()
    titles: list[str] = []
    page = conversation_pb2.ListConversationsRequest(page_size=1000)
    while True:
        answer = await stub.ListConversations(page)
        listed |= {conversation.id for conversation in answer.conversations}
        titles += [conversation.title for conversation in answer.conversations]
        page.page_token = answer.next_page_token
        if not page.page_token:
            break
    assert all(writer.created <= listed for writer in writers)
    assert len(titles) == len(set(titles)), "no conversation was made twice"
    return len(messages)


@pytest.mark.timeout(60 + 20 * KILLS)
async def test_no_acknowledged_write_is_lost_doubled_or_reordered_by_kills(tmp_path: Path) -> None:
    writers = [Writer(name) for name in range(WRITERS)]
    recoveries_s: list[float] = []
    count = 0
    for kill in range(KILLS + 1):
        begun_s = time.monotonic()
        async with running(tmp_path, SETTINGS) as program, program.channel() as channel:
            stub: Stub = conversation_pb2_grpc.ConversationServiceStub(channel)
            if kill == 0:
                await stub.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
            await stub.GetConversation(conversation_pb2.GetConversationRequest(conversation_id="c"))
            recoveries_s.append(time.monotonic() - begun_s)
            count = await check(stub, writers)
            if kill < KILLS:
                writing = [asyncio.create_task(writer.write(stub)) for writer in writers]
                await asyncio.wait(writing, timeout=random.uniform(*BETWEEN_S))
                await program.end(signal.SIGKILL)
                await asyncio.gather(*writing)
    with closing(apsw.Connection(str(tmp_path / "stepwire.db"))) as db:
        assert db.pragma("integrity_check") == "ok"
    assert sum(len(writer.acked) for writer in writers) > KILLS
    recoveries_s.sort()
    print(
        f"\n{KILLS} kills, {count} messages, 0 lost, 0 doubled, 0 reordered; from start to first answer:"
        f" median {recoveries_s[len(recoveries_s) // 2]:.2f} s, most {recoveries_s[-1]:.2f} s"
    )
