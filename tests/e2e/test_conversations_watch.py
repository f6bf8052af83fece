"""A watcher sees every change exactly once, however often it is cut off, also over the end of a server."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest

from stepwire.v1 import conversation_pb2, conversation_pb2_grpc, message_pb2
from tests.e2e.cutting import CuttingProxy, cutting
from tests.program import Program, running
from tests.rpc.keeping import Asking
from tests.rpc.serving import told

CUTS = 1000
SETTINGS = '[local]\nenabled = false\n[server]\ndurability = "relaxed"\n'
FRESH = (("grpc.use_local_subchannel_pool", 1),)
LATER = {"SERVER_DRAINING", "STORE_UNAVAILABLE", ""}  # what a cut connection says has no reason


class Watcher:
    """Follows a conversation over a bad line; remembers all it was told."""

    def __init__(self, proxy: CuttingProxy) -> None:
        self.proxy = proxy
        self.told: list[conversation_pb2.WatchConversationResponse] = []

    @property
    def revision(self) -> int:
        return self.told[-1].revision if self.told else 0

    async def follow(self) -> None:
        """Until the conversation is deleted."""
        while not (self.told and self.told[-1].HasField("deleted")):
            async with grpc.aio.insecure_channel(self.proxy.address, options=FRESH) as channel:
                stub = conversation_pb2_grpc.ConversationServiceStub(channel)
                watch = stub.WatchConversation(
                    conversation_pb2.WatchConversationRequest(conversation_id="c", after_revision=self.revision)
                )
                try:
                    async for change in watch:
                        if not change.HasField("heartbeat"):
                            self.told.append(change)
                except grpc.aio.AioRpcError as failure:
                    if failure.code() is not grpc.StatusCode.UNAVAILABLE or told(failure).reason not in LATER:
                        raise


class Writer:
    """Changes the conversation, straight to whichever server runs."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.changes = 1
        self._random = random.Random(7)

    async def write(self, program: Program, proxy: CuttingProxy, cuts: int) -> None:
        """Go on until so many connections were cut."""
        async with program.channel() as channel:
            stub = conversation_pb2_grpc.ConversationServiceStub(channel)
            while proxy.cuts < cuts:
                if self._random.random() < 0.7:
                    texts = [f"{len(self.texts) + index}" * 20 for index in range(self._random.randint(1, 5))]
                    await stub.AppendMessages(
                        conversation_pb2.AppendMessagesRequest(
                            conversation_id="c", messages=[message_pb2.Message(text=text) for text in texts]
                        )
                    )
                    self.texts += texts
                    self.changes += len(texts)
                else:
                    await stub.UpdateConversation(
                        conversation_pb2.UpdateConversationRequest(
                            conversation=conversation_pb2.Conversation(id="c", title=str(self.changes))
                        )
                    )
                    self.changes += 1
                await asyncio.sleep(0.005)  # a writer who takes its time, so that the watcher is often up to date


@pytest.mark.timeout(300)
async def test_a_thousand_cuts_and_a_killed_server_leave_no_gap_and_no_repeat(tmp_path: Path) -> None:
    writer = Writer()
    async with AsyncExitStack() as first:
        program = await first.enter_async_context(running(tmp_path, SETTINGS))
        proxy = await first.enter_async_context(cutting(program.address))
        async with program.channel() as channel:
            stub = conversation_pb2_grpc.ConversationServiceStub(channel)
            await stub.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
        watcher = Watcher(proxy)
        following = asyncio.create_task(watcher.follow())
        try:
            await writer.write(program, proxy, CUTS // 2)
            await program.end(signal.SIGKILL)
            async with running(tmp_path, SETTINGS) as again:
                proxy.target = again.address
                await writer.write(again, proxy, CUTS)
                async with again.channel() as channel:
                    ask = Asking.of(channel)
                    stored = await ask.messages(view=conversation_pb2.MESSAGE_VIEW_ALL)
                    await ask.DeleteConversation(conversation_id="c")
                await asyncio.wait_for(following, 60)
        finally:
            following.cancel()
            await asyncio.wait([following])
    assert proxy.cuts >= CUTS
    assert [change.revision for change in watcher.told] == list(range(1, writer.changes + 2))
    appended = [c.message_appended.message.text for c in watcher.told if c.HasField("message_appended")]
    assert appended == writer.texts == [message.text for message in stored]
    titles = [c.conversation_updated.title for c in watcher.told if c.HasField("conversation_updated")]
    assert titles == [str(c.revision - 1) for c in watcher.told if c.HasField("conversation_updated")]
