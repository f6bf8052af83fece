"""Watching a conversation: every change in order, signs of life, and how it ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from stepwire.v1 import conversation_pb2
from stepwired.errors import Reason, Unavailable
from stepwired.limits import Limits
from stepwired.rpc.watch import _beating
from stepwired.store.nouns import Deleted
from tests.rpc.keeping import Asking, refused, stored
from tests.rpc.serving import read, told, until, within

Change = conversation_pb2.WatchConversationResponse


async def changes(watch: Any, count: int) -> list[Change]:
    """The next so many changes."""
    found: list[Change] = []
    while len(found) < count:
        change = await read(watch)
        if not change.HasField("heartbeat"):
            found.append(change)
    return found


def kinds(found: list[Change]) -> list[tuple[int, str | None]]:
    return [(change.revision, change.WhichOneof("change")) for change in found]


async def test_everything_that_there_ever_was_is_told_from_revision_0_on(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(
            conversation_id="c", title="t", messages=[{"id": "a", "text": "a"}, {"id": "b", "text": "b"}]
        )
        watch = ask.WatchConversation(conversation_id="c", after_revision=0)
        await ask.AppendMessages(
            conversation_id="c", messages=[{"id": "x", "text": "x", "parent_id": "a"}], keep_head=True
        )
        await ask.UpdateMessage(conversation_id="c", message_id="a", metadata={"k": 1})
        await ask.UpdateConversation(conversation={"id": "c", "title": "new", "head_id": "x"})
        found = await changes(watch, 6)
        await ask.DeleteConversation(conversation_id="c")
        found += await changes(watch, 1)
        assert await read(watch) is grpc.aio.EOF
    assert kinds(found) == [
        (1, "created"),
        (2, "message_appended"),
        (3, "message_appended"),
        (4, "message_appended"),
        (5, "message_updated"),
        (6, "conversation_updated"),
        (7, "deleted"),
    ]
    assert found[0].created.title == "t"
    assert [found[at].message_appended.message.id for at in (1, 2, 3)] == ["a", "b", "x"]
    assert [found[at].message_appended.moved_head for at in (1, 2, 3)] == [False, True, False]
    assert found[4].message_updated.metadata["k"] == 1
    assert (found[5].conversation_updated.title, found[5].conversation_updated.head_id) == ("new", "x")


async def test_by_default_only_what_comes_is_told(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=[{"text": "before"}])
        watch = ask.WatchConversation(conversation_id="c", heartbeat_interval="1s")
        beat = await read(watch)  # it has begun
        assert (beat.revision, beat.WhichOneof("change")) == (2, "heartbeat")
        assert beat.heartbeat.send_time.seconds > 0
        await ask.AppendMessages(conversation_id="c", messages=[{"text": "after"}])
        (change,) = await changes(watch, 1)
        assert (change.revision, change.message_appended.message.text) == (3, "after")
        beat = await read(watch)
        assert (beat.revision, beat.WhichOneof("change")) == (3, "heartbeat")
        watch.cancel()
        method = "/stepwire.v1.ConversationService/WatchConversation"
        await until(lambda: (method, "CANCELLED", "") in client.metrics.calls)


async def test_a_watch_tells_at_once_where_it_begins_unless_it_was_told(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=[{"text": "before"}])
        watch = ask.WatchConversation(conversation_id="c", heartbeat_interval="600s")
        assert kinds([await read(watch)]) == [(2, "heartbeat")]
        told = ask.WatchConversation(conversation_id="c", heartbeat_interval="600s", after_revision=1)
        assert kinds([await read(told)]) == [(2, "message_appended")]
        await ask.AppendMessages(conversation_id="c", messages=[{"text": "after"}])
        assert kinds([await read(watch)]) == kinds([await read(told)]) == [(3, "message_appended")]
        watch.cancel()
        told.cancel()


@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_watch_that_is_cancelled_again_while_it_ends_leaves_nothing_behind(cancels: int) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    complaints: list[dict[str, Any]] = []

    async def feed() -> AsyncGenerator[tuple[Deleted, ...], None]:
        try:
            begun.set()
            await asyncio.Event().wait()
            yield ()
        finally:
            for _ in range(5):  # takes some turns to end
                await asyncio.sleep(0)
            ended.set()
            raise Unavailable(Reason.STORE_UNAVAILABLE, "it was closed meanwhile")

    async def watch() -> None:
        async with aclosing(_beating(feed(), 600)) as pages:
            async for _ in pages:
                pass

    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    watching = asyncio.create_task(watch())
    await within(begun.wait())
    for _ in range(cancels):
        watching.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError if cancels > 1 else (asyncio.CancelledError, Unavailable)):
        await within(watching)
    await within(ended.wait())
    await asyncio.sleep(0)
    del watching
    gc.collect()
    assert complaints == []


async def test_a_watch_that_cannot_be_is_refused(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c")
        for fields, reason in (
            ({"conversation_id": "nobody"}, "CONVERSATION_NOT_FOUND"),
            ({"conversation_id": "nobody", "after_revision": 0}, "CONVERSATION_NOT_FOUND"),
            ({"conversation_id": "c", "after_revision": 2}, "FIELD_INVALID"),
        ):
            assert (await refused(within(ask.WatchConversation(**fields).read()))).reason == reason


async def test_a_server_that_ends_tells_watchers_at_once_and_does_not_wait_for_them(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c")
        watch = ask.WatchConversation(conversation_id="c", after_revision=0)
        await changes(watch, 1)
        await within(client.server.drain(3600))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(watch)
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    assert error.facts == {"partial": "true"}


async def test_a_watcher_that_does_not_read_is_ended_and_goes_on_later(tmp_path: Path) -> None:
    limits = Limits(stalled_reader_s=0.2)
    async with stored(tmp_path, limits) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c")
        watch = ask.WatchConversation(conversation_id="c", after_revision=0)
        await changes(watch, 1)
        for _ in range(4):  # more than the windows of a connection hold
            await ask.AppendMessages(conversation_id="c", messages=[{"text": "x" * 800_000}] * 10)
        method = "/stepwire.v1.ConversationService/WatchConversation"
        await until(lambda: (method, "RESOURCE_EXHAUSTED", "SLOW_CONSUMER") in client.metrics.calls)
        last = 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012  what was sent before comes first
            while True:
                last = (await read(watch)).revision
        assert told(caught.value).reason == "SLOW_CONSUMER"
        again = ask.WatchConversation(conversation_id="c", after_revision=last)
        assert [change.revision for change in await changes(again, 41 - last)] == list(range(last + 1, 42))
        again.cancel()


async def test_many_watchers_of_one_conversation_are_told_the_same(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c")
        watches = [ask.WatchConversation(conversation_id="c", after_revision=0) for _ in range(20)]
        for index in range(30):
            await ask.AppendMessages(conversation_id="c", messages=[{"text": str(index)}])
        for found in await asyncio.gather(*(changes(watch, 31) for watch in watches)):
            assert [change.message_appended.message.text for change in found[1:]] == [str(index) for index in range(30)]
        for watch in watches:
            watch.cancel()
