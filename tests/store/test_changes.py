from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from pathlib import Path

import pytest

from stepwired.conversation import Conversation
from stepwired.errors import Broken, Conflict, InvalidRequest, NotFound, Reason, Unavailable
from stepwired.events import Message, MessageStatus
from stepwired.limits import Limits
from stepwired.store import changes
from stepwired.store.nouns import Appended, Change, ConversationUpdated, Created, Deleted, MessageUpdated
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import on_writer, read_changes, read_ids, said

LIMITS = Limits(stream_message_bytes=300)


def told(found: list[Change]) -> list[tuple[int, str]]:
    """Each change in short: its revision, and what it was about."""
    short = []
    for change in found:
        what = "deleted"
        match change:
            case Created(conversation=conversation):
                what = f"created {conversation.title}"
            case Appended(message=message, moved_head=moved_head):
                what = f"{'+' if moved_head else '-'}{message.id}"
            case MessageUpdated(message=message):
                what = f"{message.id} is {message.metadata} {message.status.value}"
            case ConversationUpdated(conversation=conversation):
                what = f"{conversation.title} at {conversation.head_id} {conversation.metadata}"
        short.append((change.revision, what))
    return short


async def test_every_change_is_told_once_in_order_with_what_was_then(store: SqliteStore) -> None:
    await store.create("c", title="one", metadata={"a": 1}, messages=said("a", "b"))
    await store.update_message("c", "a", metadata={"seen": True})
    await store.append("c", said("x"), keep_head=True)
    await store.update("c", title="two", metadata={"a": None, "b": 2}, merge=True)
    await store.update("c", head_id="a")
    await store.append("c", said("y", "z"))
    last = await store.update("c", title="three", head_id="x")
    await store.update_message("c", "z", status=MessageStatus.INTERRUPTED)
    assert told(await read_changes(store, "c", 0, 11)) == [
        (1, "created one"),
        (2, "-a"),
        (3, "+b"),
        (4, "a is {'seen': True} complete"),
        (5, "-x"),
        (6, "two at b {'b': 2}"),
        (7, "two at a {'b': 2}"),
        (8, "-y"),
        (9, "+z"),
        (10, "three at x {'b': 2}"),
        (11, "z is {} interrupted"),
    ]
    [created] = [change for change in await read_changes(store, "c", 0, 11) if isinstance(change, Created)]
    first = created.conversation
    assert (first.metadata, first.head_id, first.revision, first.message_count) == ({"a": 1}, "", 1, 0)
    assert (await read_changes(store, "c", 9, 10))[0] == ConversationUpdated(10, last)


async def test_reading_may_begin_anywhere_and_nowhere_in_the_future(store: SqliteStore) -> None:
    await store.create("c", messages=said("a"))
    for number in range(5):
        await store.update_message("c", "a", metadata={"n": number})
        await store.append("c", said(f"m{number}", f"k{number}"))
    everything = await read_changes(store, "c", 0, 17)
    assert [change.revision for change in everything] == list(range(1, 18))
    for after in range(17):
        assert await read_changes(store, "c", after, 17) == everything[after:]
    for wrong in (-1, 18):
        with pytest.raises(InvalidRequest) as caught:
            await anext(store.changes("c", wrong))
        assert caught.value.violations[0].field == "after_revision"
    with pytest.raises(NotFound):
        await anext(store.changes("nobody", 0))


async def test_who_says_no_revision_is_told_what_comes_from_now_on(store: SqliteStore) -> None:
    await store.create("c", messages=said("a"))
    async with aclosing(store.changes("c")) as pages:
        waiting = asyncio.create_task(anext(pages))
        number = 2
        while not waiting.done():
            number += 1
            await store.append("c", said(f"m{number}"))
        first, *_ = told(list(waiting.result()))
        assert first == (first[0], f"+m{first[0]}")
        assert 3 <= first[0] <= number


async def test_a_waiting_reader_hears_of_each_change_and_costs_nothing_else(store: SqliteStore) -> None:
    await store.create("c")
    await store.create("d")
    heard: list[Change] = []

    async def listen() -> None:
        async with aclosing(store.changes("c", 0)) as pages:
            async for page in pages:
                heard.extend(page)

    listening = asyncio.create_task(listen())
    for number in range(50):
        await asyncio.gather(store.append("c", said(f"m{number}")), store.append("d", said(f"m{number}")))
        await store.update("c", title=str(number))
    await store.delete("c")
    await listening
    assert [change.revision for change in heard] == list(range(1, 103))
    assert isinstance(heard[-1], Deleted)
    assert not store._core.bells._bells, "nobody listens any more"


async def test_a_reader_that_sees_a_deletion_before_it_is_told_waits_for_its_revision(store: SqliteStore) -> None:
    await store.create("c", messages=said("a", "b", "c"))
    bells = store._core.bells
    rung: list[tuple[str, int, int]] = []
    ring, bells.ring_deleted = bells.ring_deleted, lambda *told: rung.append(told)  # type: ignore[method-assign]
    async with aclosing(store.changes("c", 1)) as pages:
        assert len(await anext(pages)) == 3
        await store.append("c", said("later"))
        await store.delete("c")
        telling = asyncio.create_task(anext(pages))
        for _ in range(20):
            with pytest.raises(NotFound):
                await store.get("c")
        assert not telling.done()
        [told] = rung
        ring(*told)
        assert await telling == (Deleted(6),)


async def test_a_write_whose_caller_was_cancelled_is_told_all_the_same(store: SqliteStore) -> None:
    await store.create("c")
    async with aclosing(store.changes("c", 1)) as pages:
        waiting = asyncio.create_task(anext(pages))
        append = asyncio.create_task(store.append("c", said("a")))
        await asyncio.sleep(0)
        append.cancel()
        assert told(list(await waiting)) == [(2, "+a")]
    await asyncio.wait([append])


async def test_a_conversation_that_takes_the_id_of_a_deleted_one_is_another(store: SqliteStore) -> None:
    await store.create("c", messages=said("a"))
    async with aclosing(store.changes("c", 0)) as pages:
        await anext(pages)
        await store.delete("c")
        await store.create("c", messages=said("x", "y", "z"))
        assert await anext(pages) == (Deleted(3),)
        with pytest.raises(StopAsyncIteration):
            await anext(pages)
    assert told(await read_changes(store, "c", 0, 4)) == [(1, "created "), (2, "-x"), (3, "-y"), (4, "+z")]


async def test_closing_the_store_ends_its_readers(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.create("c")
    waiting = [asyncio.create_task(anext(store.changes("c", 1))) for _ in range(3)]
    await asyncio.sleep(0)
    await store.close()
    for task in waiting:
        with pytest.raises(Unavailable) as caught:
            await task
        assert caught.value.reason is Reason.STORE_UNAVAILABLE


@pytest.mark.parametrize("bounded_by", ["count", "bytes"])
async def test_old_updates_are_dropped_and_appends_never(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, bounded_by: str
) -> None:
    kept = 5
    await store.create("c", title="0" * 1000, messages=said("a"))
    if bounded_by == "count":
        monkeypatch.setattr(changes, "KEPT_UPDATES", kept)
    else:
        update = await store.update("c", title="0" * 1000)
        [(size,)] = await on_writer(store, "SELECT length(body) FROM change WHERE revision = 3")
        monkeypatch.setattr(changes, "KEPT_BYTES", kept * size)
        assert update.revision == 3
    for number in range(20):
        await store.append("c", said(f"m{number}"))
        await store.update("c", title=f"{number:04}" * 250)
    newest = (await store.get("c")).revision
    with pytest.raises(Conflict) as caught:
        await anext(store.changes("c", 0))
    assert caught.value.reason is Reason.FEED_COMPACTED
    earliest = int(caught.value.metadata["earliestRevision"])
    found = await read_changes(store, "c", earliest, newest)
    assert [change.revision for change in found] == list(range(earliest + 1, newest + 1))
    assert sum(isinstance(change, ConversationUpdated) for change in found) in {kept, kept + 1}
    for after in range(earliest):
        with pytest.raises(Conflict):
            await anext(store.changes("c", after))
    await on_writer(store, "DELETE FROM change")
    # Appends alone have nothing that could be dropped.
    await store.create("d", messages=said(*(f"m{number}" for number in range(100))))
    assert len(await read_changes(store, "d", 0, 101)) == 101


async def test_a_gap_is_an_error_and_never_passed_over(store: SqliteStore) -> None:
    await store.create("c", messages=said("a"))
    for number in range(3):
        await store.update("c", title=str(number))
    await store.append("c", said("b"))
    await on_writer(store, "DELETE FROM change WHERE revision = 4")
    with pytest.raises(Broken) as caught:
        await read_changes(store, "c", 0, 6)
    assert caught.value.reason is Reason.STORE_CORRUPT


@pytest.mark.timeout(300)
async def test_a_thousand_disconnects_give_no_gap_and_no_repeat_also_over_restarts(tmp_path: Path) -> None:
    chance = random.Random(7)
    store = await SqliteStore.open(tmp_path, limits=LIMITS, durability="relaxed")
    await store.create("c", messages=said("m"))
    seen: list[Change] = []
    expected = 2
    disconnects = 0
    while disconnects < 1000:
        if disconnects % 100 == 99:
            await store.close()
            store = await SqliteStore.open(tmp_path, limits=LIMITS, durability="relaxed")

        async def write(times: int = chance.randint(0, 6), to: SqliteStore = store) -> int:
            for _ in range(times):
                match chance.randrange(4):
                    case 0:
                        await to.update("c", title=str(chance.random()))
                    case 1:
                        await to.update_message("c", "m", metadata={"n": chance.random()})
                    case _:
                        await to.append("c", [Message(text="x" * chance.randint(1, 200))])
            return times

        writing = asyncio.create_task(write())
        # Some leave while they wait, some after a page or two; all come back with what they saw last.
        async with aclosing(store.changes("c", seen[-1].revision if seen else 0)) as pages:
            for _ in range(chance.randint(0, 3)):
                reading = asyncio.ensure_future(anext(pages))
                await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    await asyncio.wait([reading])
                    break
                seen += reading.result()
        expected += await writing
        disconnects += 1
    if seen[-1].revision < expected:
        seen += await read_changes(store, "c", seen[-1].revision, expected)
    assert [change.revision for change in seen] == list(range(1, expected + 1))
    appended = [change.message.id for change in seen if isinstance(change, Appended)]
    assert appended == await read_ids(store, "c")
    assert len(seen) > 1000
    await store.close()


async def test_what_was_imported_and_forked_is_told_from_its_creation(store: SqliteStore) -> None:
    await store.import_(Conversation("c", head_id="a"), [*said("a"), Message(text="b", id="b", parent_id="a")])
    await store.fork("c", "b", new_id="d", title="copy")
    assert told(await read_changes(store, "c", 0, 3)) == [(1, "created "), (2, "+a"), (3, "-b")]
    assert told(await read_changes(store, "d", 0, 3)) == [(1, "created copy"), (2, "-a"), (3, "+b")]
