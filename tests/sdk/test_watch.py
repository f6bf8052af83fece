"""A watch goes on by itself, tells each change exactly once, and gives up where going on cannot help."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, ConversationChange, _watch, errors
from stepwire.v1 import conversation_pb2 as wire
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Script, Server, serve

CUTS: dict[str, dict[str, Any]] = {
    "drained": {"code": grpc.StatusCode.UNAVAILABLE, "reason": "SERVER_DRAINING"},
    "lost": {"code": grpc.StatusCode.UNAVAILABLE},
    "reset": {"code": grpc.StatusCode.INTERNAL},
    "ended by a proxy": {"code": grpc.StatusCode.CANCELLED},
    "timed out by a proxy": {"code": grpc.StatusCode.DEADLINE_EXCEEDED},
    "slow": {"code": grpc.StatusCode.RESOURCE_EXHAUSTED, "reason": "SLOW_CONSUMER"},
    "busy": {"code": grpc.StatusCode.RESOURCE_EXHAUSTED, "reason": "CONCURRENCY_LIMITED", "retry_after_s": 0.01},
}

GIVEN_UP = [
    ("NOT_FOUND", "CONVERSATION_NOT_FOUND", errors.NotFound),
    ("OUT_OF_RANGE", "FEED_COMPACTED", errors.InvalidRequest),
    ("INVALID_ARGUMENT", "FIELD_INVALID", errors.InvalidRequest),
    ("INTERNAL", "INTERNAL", errors.ServerError),
    ("UNIMPLEMENTED", "", errors.ServerError),
]


async def read(client: AsyncClient, until: int, **options: Any) -> list[ConversationChange]:
    """Read changes until a revision."""
    found: list[ConversationChange] = []
    async with aclosing(client.watch_conversation("c1", **options)) as changes:
        async for change in changes:
            found.append(change)
            if change.revision == until:
                break
    return found


def cutting(server: Server, cut: Callable[[int], dict[str, Any] | None]) -> None:
    """Let `cut` decide after each response, counted from 0, whether the call ends with a status, or just ends."""
    whole: Any = server.on["WatchConversation"]
    sent = -1

    async def watch(request: Any, context: Any) -> Any:
        nonlocal sent
        async with aclosing(whole(request, context)) as responses:
            async for response in responses:
                yield response
                sent += 1
                if (how := cut(sent)) is not None:
                    if how:
                        await refuse(context, **how)
                    return

    server.on["WatchConversation"] = watch


async def test_everything_that_ever_was_is_told_in_order(client: AsyncClient) -> None:
    await client.create_conversation(conversation_id="c1", title="cats", messages=["hi"])
    await client.update_message("c1", "m1", metadata={"hidden": True})
    await client.update_conversation("c1", title="dogs")
    changes = await read(client, until=4, after_revision=0)
    assert [change.kind for change in changes] == [
        "created",
        "message_appended",
        "message_updated",
        "conversation_updated",
    ]
    created, appended, updated, renamed = changes
    assert created.conversation
    assert created.conversation.title == "cats"
    assert created.message is None
    assert appended.message
    assert (appended.message.text, appended.moved_head) == ("hi", True)
    assert updated.message
    assert updated.message.metadata["hidden"] is True
    assert renamed.conversation
    assert renamed.conversation.title == "dogs"


async def test_by_default_only_what_comes_is_told_and_the_deletion_ends_it(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1", messages=["hi"])
    begun = asyncio.Event()
    whole: Any = server.on["WatchConversation"]

    async def watch(request: Any, context: Any) -> Any:
        async for response in whole(request, context):
            begun.set()
            yield response

    server.on["WatchConversation"] = watch

    async def writes() -> None:
        await begun.wait()
        await client.append("c1", ["now"])
        await client.delete_conversation("c1")

    writing = asyncio.create_task(writes())
    changes = [change async for change in client.watch_conversation("c1")]
    await writing
    assert [(change.revision, change.kind) for change in changes] == [(3, "message_appended"), (4, "deleted")]


async def test_a_cut_before_the_first_change_does_not_move_the_beginning(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1", messages=["hi"])
    whole: Any = server.on["WatchConversation"]

    async def watch(request: Any, context: Any) -> Any:
        if server.script.count("WatchConversation") == 1:  # and while it is away:
            await client.append("c1", ["meanwhile"])
            await refuse(context, grpc.StatusCode.UNAVAILABLE)
        async for response in whole(request, context):
            yield response

    server.on["WatchConversation"] = watch
    [change] = await read(client, until=3)
    assert change.message
    assert change.message.text == "meanwhile"


@pytest.mark.parametrize("how", CUTS.values(), ids=CUTS.keys())
async def test_a_cut_watch_goes_on_from_the_last_change(
    client: AsyncClient, server: Server, how: dict[str, Any]
) -> None:
    await client.create_conversation(conversation_id="c1", messages=[str(number) for number in range(5)])
    cutting(server, lambda sent: how if sent == 3 else None)
    changes = await read(client, until=6, after_revision=0)
    assert [change.revision for change in changes] == [1, 2, 3, 4, 5, 6]
    asked = [request.after_revision for name, request in server.script.calls if name == "WatchConversation"]
    assert asked == [0, 3]


async def test_nothing_is_missed_or_told_twice_over_a_thousand_cuts(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1", messages=[str(number) for number in range(999)])
    chance = random.Random(3)
    cuts = 0

    def cut(_: int) -> dict[str, Any] | None:
        nonlocal cuts
        if chance.random() < 0.5:
            cuts += 1
            return chance.choice([{}, CUTS["lost"], CUTS["drained"], CUTS["reset"]])
        return None

    cutting(server, cut)
    changes = await read(client, until=1000, after_revision=0)
    assert [change.revision for change in changes] == list(range(1, 1001))
    assert cuts >= 500


async def test_a_change_that_comes_again_is_passed_over(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1", messages=["hi"])

    async def stutters(request: Any, context: Any) -> Any:
        for revision in (1, 1, 2, 1, 2, 3):
            yield wire.WatchConversationResponse(revision=revision, message_appended=wire.MessageAppended())

    server.on["WatchConversation"] = stutters
    assert [change.revision for change in await read(client, until=3, after_revision=0)] == [1, 2, 3]


async def test_a_change_of_a_later_version_counts(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1")

    async def newer(request: Any, context: Any) -> Any:
        yield wire.WatchConversationResponse(revision=2)

    server.on["WatchConversation"] = newer
    [change] = await read(client, until=2, after_revision=1)
    assert change.kind == "unknown"


async def test_a_server_that_restarts_is_waited_for() -> None:
    script = Script()
    async with serve(script) as first:
        port = int(first.target.rpartition(":")[2])
        client = AsyncClient(first.target)
        await client.create_conversation(conversation_id="c1", messages=["hi"])
        changes = client.watch_conversation("c1", after_revision=0)
        assert [(await anext(changes)).revision for _ in range(2)] == [1, 2]
        next_one = asyncio.ensure_future(anext(changes))
    async with serve(script, port), client:
        await client.append("c1", ["back"])
        change = await asyncio.wait_for(next_one, 30)
        assert change.message
        assert change.message.text == "back"
        await changes.aclose()


async def test_a_watch_that_falls_silent_is_made_again(
    client: AsyncClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watch, "MIN_HEARTBEAT_S", 0.01)
    await client.create_conversation(conversation_id="c1", messages=["hi"])
    whole: Any = server.on["WatchConversation"]

    async def silent_first(request: Any, context: Any) -> Any:
        if server.script.count("WatchConversation") == 1:
            await asyncio.Event().wait()
        async for response in whole(request, context):
            yield response

    server.on["WatchConversation"] = silent_first
    changes = await read(client, until=2, after_revision=0, heartbeat_s=0.02)
    assert [change.revision for change in changes] == [1, 2]
    assert server.script.last("WatchConversation").heartbeat_interval.nanos == 20_000_000


@pytest.mark.parametrize(("code", "reason", "kind"), GIVEN_UP)
async def test_it_gives_up_where_going_on_cannot_help(
    client: AsyncClient, server: Server, code: str, reason: str, kind: type[errors.Error]
) -> None:
    await client.create_conversation(conversation_id="c1", messages=["hi"])
    cutting(server, lambda sent: {"code": grpc.StatusCode[code], "reason": reason} if sent == 1 else None)
    changes = client.watch_conversation("c1", after_revision=0)
    assert (await anext(changes)).revision == 1
    with pytest.raises(kind):
        await anext(changes)
    assert server.script.count("WatchConversation") == 1


async def test_an_unknown_conversation_and_a_missing_server_are_told_at_once(client: AsyncClient) -> None:
    with pytest.raises(errors.NotFound):
        await anext(client.watch_conversation("nope"))
    async with AsyncClient("127.0.0.1:1") as nobody:
        with pytest.raises(errors.Unavailable):
            await anext(nobody.watch_conversation("c1"))


async def test_its_time_may_be_limited(client: AsyncClient) -> None:
    await client.create_conversation(conversation_id="c1")
    with pytest.raises(errors.DeadlineExceeded):
        await anext(client.watch_conversation("c1", timeout_s=0.05))


async def test_its_time_may_end_while_it_waits_to_go_on(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1")
    cutting(server, lambda _: CUTS["drained"] | {"retry_after_s": 3600})
    with pytest.raises(errors.DeadlineExceeded):
        await asyncio.wait_for(read(client, until=99, after_revision=0, timeout_s=0.5), 60)


@pytest.mark.parametrize("heartbeat_s", [0, -1, 0.5, 601, float("nan"), float("inf")])
async def test_a_heartbeat_out_of_its_bounds_is_refused_before_anything_is_asked(
    client: AsyncClient, server: Server, heartbeat_s: float
) -> None:
    with pytest.raises(errors.InvalidRequest, match="heartbeat_s"):
        await asyncio.wait_for(anext(client.watch_conversation("c1", heartbeat_s=heartbeat_s)), 60)
    assert server.script.calls == []


async def test_closing_the_client_ends_it(server: Server) -> None:
    client = AsyncClient(server.target)
    await client.create_conversation(conversation_id="c1")
    changes = client.watch_conversation("c1", after_revision=0)
    await anext(changes)
    waiting = asyncio.create_task(anext(changes))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(errors.Cancelled):
        await waiting


async def test_leaving_it_ends_the_call(client: AsyncClient, server: Server) -> None:
    await client.create_conversation(conversation_id="c1")
    await read(client, until=1, after_revision=0)
    await asyncio.to_thread(server.script.ended.wait, 5)
    assert server.script.ended.is_set()


def test_pauses_grow_up_to_a_limit_begin_again_after_a_success_and_wait_as_told() -> None:
    pauses = _watch.Pauses()
    assert pauses.next_s(None) == 0
    grown = [max(pauses_after(failures) for _ in range(200)) for failures in (1, 3, 60)]
    assert grown[0] <= _watch.FIRST_PAUSE_S < grown[1] < grown[2] <= _watch.MAX_PAUSE_S
    assert pauses.next_s(7.0) == 7.0
    pauses.reset()
    assert pauses.next_s(None) == 0


def pauses_after(failures: int) -> float:
    pauses = _watch.Pauses()
    for _ in range(failures):
        pauses.next_s(None)
    return pauses.next_s(None)
