from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from stepwired.errors import Conflict, InvalidRequest, NotFound, Reason
from stepwired.events import Image, Message
from stepwired.store import answers
from stepwired.store.answers import SWEEP_S
from stepwired.store.nouns import KEEP_ANSWER_S, Request
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import count_rows, on_writer, read_ids, said

DAY_NS = 24 * 3600 * 10**9
ONE, OTHER = Request("r", b"one"), Request("r", b"other")


@dataclass
class Clocks:
    """What the machine says the time is, and how long it says it has been running."""

    wall_ns: int = 1_700_000_000_000_000_000
    running_s: float = 1000.0

    async def open(self, folder: Path) -> SqliteStore:
        return await SqliteStore.open(
            folder, clock_ns=lambda: self.wall_ns, monotonic_s=lambda: self.running_s, durability="relaxed"
        )


async def test_a_repeat_is_answered_as_the_first_was_whatever_happened_since(store: SqliteStore) -> None:
    created = await store.create("c", metadata={"a": [1]}, messages=[Message(text="a")], request=ONE)
    appended = await store.append("c", [Message(text="b"), Message(text="c")], request=ONE)
    forked = await store.fork("c", new_id="d", request=ONE)
    await store.append("c", said("later"))
    await store.update("c", title="later")
    rows = await count_rows(store)
    assert await store.create("c", metadata={"a": [1]}, messages=[Message(text="a")], request=ONE) == created
    assert await store.append("c", [Message(text="b"), Message(text="c")], request=ONE) == appended
    assert await store.fork("c", new_id="d", request=ONE) == forked
    assert await count_rows(store) == rows


async def test_a_repeat_needs_no_revision_that_was_current_the_first_time(store: SqliteStore) -> None:
    await store.create("c")
    first = await store.append("c", [Message(text="a")], if_revision=1, request=ONE)
    assert await store.append("c", [Message(text="a")], if_revision=1, request=ONE) == first
    with pytest.raises(Conflict) as caught:
        await store.append("c", [Message(text="a")], if_revision=1)
    assert (caught.value.reason, caught.value.metadata) == (Reason.REVISION_MISMATCH, {"revision": "2"})


async def test_another_request_with_the_same_id_is_refused_and_does_nothing(store: SqliteStore) -> None:
    await store.create("c", request=ONE)
    await store.append("c", said("a"), request=ONE)
    await store.fork("c", new_id="d", request=ONE)
    for call in (
        store.create("e", request=OTHER),
        store.append("c", said("b"), request=OTHER),
        store.fork("c", new_id="f", request=OTHER),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await call
        [violation] = caught.value.violations
        assert (violation.field, violation.reason) == ("request_id", Reason.REQUEST_ID_MISMATCH)
    assert await read_ids(store, "c") == ["a"]
    for name in ("e", "f"):
        with pytest.raises(NotFound):
            await store.get(name)


async def test_what_failed_is_done_when_it_is_repeated(store: SqliteStore) -> None:
    with pytest.raises(NotFound):
        await store.append("c", said("a"), request=ONE)
    await store.create("c")
    after, _ = await store.append("c", said("a"), request=ONE)
    assert after.revision == 2


async def test_eight_callers_with_three_hundred_ids_make_each_message_once(store: SqliteStore) -> None:
    await store.create("c")
    seen: Counter[str] = Counter()
    revisions: dict[str, set[int]] = {}

    async def call(caller: int) -> None:
        digest = b"other" if caller > 5 else b"one"
        for number in range(300):
            try:
                after, _ = await store.append("c", [Message(text="x")], request=Request(str(number), digest))
            except InvalidRequest:
                seen["refused"] += 1
            else:
                seen["answered"] += 1
                revisions.setdefault(str(number), set()).add(after.revision)

    # Writes are done in the order in which they are handed over, so that the six are always before the two.
    await asyncio.gather(*map(call, range(8)))
    assert seen == {"answered": 300 + 1500, "refused": 600}
    assert all(len(found) == 1 for found in revisions.values()), "one answer for each id"
    assert sorted(next(iter(found)) for found in revisions.values()) == list(range(2, 302))
    assert (await store.get("c")).message_count == 300


async def test_an_answer_is_kept_over_restarts_for_a_day_of_running_and_no_longer(tmp_path: Path) -> None:
    clocks = Clocks()
    store = await clocks.open(tmp_path)
    await store.create("c")
    first = await store.append("c", [Message(text="a")], request=ONE)
    for step in range(4):
        clocks.running_s += KEEP_ANSWER_S / 4 - SWEEP_S
        assert await store.append("c", [Message(text="a")], request=ONE) == first, step
        await store.close()
        clocks.running_s = 5.0  # another boot of the machine
        store = await clocks.open(tmp_path)
    clocks.running_s += 4 * SWEEP_S + 1
    again, _ = await store.append("c", [Message(text="a")], request=ONE)
    assert again.message_count == 2
    await store.close()


@pytest.mark.parametrize("jump_ns", [DAY_NS * 400, -DAY_NS])
async def test_a_jump_of_the_clock_ends_nothing_early(tmp_path: Path, jump_ns: int) -> None:
    clocks = Clocks()
    store = await clocks.open(tmp_path)
    await store.create("c")
    first = await store.append("c", [Message(text="a")], request=ONE)
    blob_id = await store.put_blob(Image(), b"x")
    clocks.wall_ns += jump_ns
    clocks.running_s += 2 * SWEEP_S
    assert await store.append("c", [Message(text="a")], request=ONE) == first
    await store.append("c", said("b", "c"))
    assert await read_ids(store, "c") == [first[1][0], "b", "c"], "order is not by the clock"
    assert (await store.blob(blob_id)).size_bytes == 1
    await store.close()


async def test_expired_answers_are_removed_by_later_writes(tmp_path: Path) -> None:
    clocks = Clocks()
    store = await clocks.open(tmp_path)
    await store.create("c")
    for number in range(10):
        await store.append("c", said(f"m{number}"), request=Request(str(number), b""))
    clocks.running_s += KEEP_ANSWER_S + 1
    await store.append("c", said("x"))
    assert await on_writer(store, "SELECT count(*) FROM request") == [(0,)]
    await store.close()


async def test_an_answer_can_be_looked_up_without_a_write(store: SqliteStore) -> None:
    for method in ("create", "append", "fork"):
        assert await store.answered(method, ONE) is None
    created = await store.create("c", metadata={"a": [1]}, messages=said("a"), request=ONE)
    appended = await store.append("c", said("b"), request=ONE)
    forked = await store.fork("c", new_id="d", request=ONE)
    await store.update("c", title="later")
    assert await store.answered("create", ONE) == created
    assert await store.answered("append", ONE) == appended
    assert await store.answered("fork", ONE) == (forked, ())
    with pytest.raises(InvalidRequest) as caught:
        await store.answered("append", OTHER)
    assert caught.value.reason is Reason.REQUEST_ID_MISMATCH


async def test_a_looked_up_answer_ends_when_the_kept_one_does(tmp_path: Path) -> None:
    clocks = Clocks()
    store = await clocks.open(tmp_path)
    first = await store.create("c", request=ONE)
    clocks.running_s += KEEP_ANSWER_S
    assert await store.answered("create", ONE) == first
    clocks.running_s += 1
    assert await store.answered("create", ONE) is None
    await store.close()


async def test_what_was_deleted_is_not_made_again_by_a_repeat(store: SqliteStore) -> None:
    await store.create("z", metadata={"secret": "words"}, messages=said("a"), request=ONE)
    await store.append("z", said("b"), request=ONE)
    await store.create("c")
    await store.fork("z", new_id="copy", request=ONE)
    for name in ("z", "copy"):
        await store.delete(name)
    for call in (
        store.create("z", metadata={"secret": "words"}, messages=said("a"), request=ONE),
        store.append("z", said("b"), request=ONE),
        store.fork("z", new_id="copy", request=ONE),
        store.answered("create", ONE),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason is Reason.CONVERSATION_NOT_FOUND
    assert [one.id for one in (await store.list())[0]] == ["c"]
    with pytest.raises(InvalidRequest):
        await store.create("z", request=OTHER)
    [(kept,)] = await on_writer(store, "SELECT count(*) FROM request WHERE instr(answer, CAST('words' AS BLOB))")
    assert kept == 0, "nothing that it said is left"
    await store.create("z", request=Request("new", b"one"))
    with pytest.raises(NotFound):
        await store.append("z", said("b"), request=ONE)


async def test_many_expired_answers_are_removed_by_as_many_writes_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_SWEPT", 10)
    clocks = Clocks()
    store = await clocks.open(tmp_path)
    await store.create("c")
    for number in range(35):
        await store.append("c", said(f"m{number}"), request=Request(str(number), b""))
    clocks.running_s += KEEP_ANSWER_S + 1
    for left in (25, 15, 5, 0):
        await store.append("c", [Message(text="x")])
        count = await store._core.readers.read(lambda db: db.execute("SELECT count(*) FROM request").fetchall())
        assert count == [(left,)]
    await store.close()
