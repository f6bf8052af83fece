from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stepwired.conversation import Conversation
from stepwired.errors import InvalidRequest, Reason
from stepwired.store import codec, functions
from stepwired.store.nouns import ListOrder
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import said

US = 1000


async def names(store: SqliteStore, **query: Any) -> list[str]:
    """Everything that is listed, page by page."""
    found: list[str] = []
    after = ""
    while True:
        page, after = await store.list(**query, after=after)
        assert len(page) <= query.get("page_size", 100)
        found += [conversation.id for conversation in page]
        if not after:
            return found


@pytest.fixture
def ticks() -> list[int]:
    """What the store's clock will say next, in microseconds."""
    return []


@pytest.fixture
async def clocked(tmp_path: Path, ticks: list[int]) -> Any:
    last = [1_000_000]

    def now() -> int:
        last[0] = ticks.pop(0) if ticks else last[0] + 1
        return last[0] * US

    opened = await SqliteStore.open(tmp_path, clock_ns=now, durability="relaxed")
    yield opened
    await opened.close()


async def test_pages_of_any_size_show_all_newest_first(store: SqliteStore) -> None:
    made = [f"c{number}" for number in range(25)]
    for name in made:
        await store.create(name, messages=said("m"))
    for page_size in (1, 7, 24, 25, 26, 100):
        assert await names(store, page_size=page_size) == made[::-1]
    page, after = await store.list(page_size=25)
    assert (list(page), after) == ([await store.get(name) for name in made[::-1]], "")


async def test_what_is_created_or_deleted_between_pages_hides_and_doubles_nothing(store: SqliteStore) -> None:
    for number in range(10):
        await store.create(f"c{number}")
    page, after = await store.list(page_size=4)
    assert [conversation.id for conversation in page] == ["c9", "c8", "c7", "c6"]
    await store.create("new")
    await store.delete("c6")
    await store.delete("c4")
    page, after = await store.list(page_size=4, after=after)
    assert [conversation.id for conversation in page] == ["c5", "c3", "c2", "c1"]


async def test_a_page_ends_where_its_bytes_do_and_the_next_goes_on_there(store: SqliteStore) -> None:
    for number in range(10):
        await store.create(f"c{number}", metadata={"text": "x" * 1000, "user": "ada"})
    made = [f"c{number}" for number in range(10)][::-1]
    for page_bytes in (0, 1, 2500, 5000, 100_000):
        for query in ({}, {"labels": {"user": "ada"}}, {"order": ListOrder.UPDATE_TIME}):
            assert await names(store, page_bytes=page_bytes, **query) == made, (page_bytes, query)
    page, after = await store.list(page_bytes=2500)
    assert [conversation.id for conversation in page] == ["c9", "c8"]
    await store.delete("c8")
    await store.create("new")
    page, after = await store.list(page_bytes=2500, after=after)
    assert [conversation.id for conversation in page] == ["c7", "c6"]


async def test_a_page_reads_hardly_more_than_it_returns(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        await store.create(f"c{number}", metadata={"text": "x" * 1000})
    decoded: list[str] = []
    decode = codec.decode_conversation

    def counted(body: bytes, **beside: Any) -> Conversation:
        decoded.append(beside["head_id"])
        return decode(body, **beside)

    monkeypatch.setattr("stepwired.store.codec.decode_conversation", counted)
    page, _ = await store.list(page_bytes=5000)
    assert len(decoded) == len(page) == 4


async def test_what_was_created_in_one_moment_is_listed_whole(clocked: SqliteStore, ticks: list[int]) -> None:
    for number in range(9):
        ticks[:] = [5]
        await clocked.create(f"c{number}")
    for order in ListOrder:
        assert await names(clocked, page_size=2, order=order) == [f"c{number}" for number in range(9)][::-1]


async def test_times_choose_what_is_listed_from_inclusive_before_exclusive(
    clocked: SqliteStore, ticks: list[int]
) -> None:
    for number in range(10):
        ticks[:] = [100 + number]
        await clocked.create(f"c{number}")
    assert await names(clocked, create_from_ns=103 * US, create_before_ns=106 * US) == ["c5", "c4", "c3"]
    assert await names(clocked, create_from_ns=103 * US + 1, create_before_ns=105 * US + 1) == ["c5", "c4"]
    ticks[:] = [200]
    await clocked.append("c2", said("m"))
    assert await names(clocked, update_from_ns=109 * US) == ["c9", "c2"]
    assert await names(clocked, update_from_ns=109 * US, order=ListOrder.UPDATE_TIME) == ["c2", "c9"]
    assert await names(clocked, create_before_ns=-5) == []


async def test_every_kind_of_change_moves_a_conversation_to_the_front(store: SqliteStore) -> None:
    for name in "abcd":
        await store.create(name, messages=said("m"))
    await store.update("a", title="t")
    await store.update_message("c", "m", metadata={})
    await store.append("b", said("x"))
    assert await names(store, order=ListOrder.UPDATE_TIME, page_size=2) == ["b", "c", "a", "d"]
    assert await names(store) == ["d", "c", "b", "a"]


@pytest.mark.parametrize("order", list(ListOrder))
async def test_labels_choose_by_texts_of_the_metadata(store: SqliteStore, order: ListOrder) -> None:
    for number in range(12):
        user = "ada" if number % 3 == 0 else "bob"
        await store.create(f"c{number}", metadata={"user": user, "n": str(number % 2), "deep": {"x": "y"}, "k": 1})
    ada = ["c9", "c6", "c3", "c0"]
    assert await names(store, labels={"user": "ada"}, order=order, page_size=3) == ada
    assert await names(store, labels={"user": "ada", "n": "0"}, order=order, page_size=1) == ["c6", "c0"]
    for labels in ({"user": "eve"}, {"deep": "y"}, {"x": "y"}, {"k": "1"}, {"us": "erada"}):
        assert await names(store, labels=labels, order=order) == []
    since = (await store.get("c5")).create_time_ns
    assert await names(store, labels={"user": "ada"}, order=order, create_from_ns=since) == ["c9", "c6"]


async def test_labels_follow_the_metadata(store: SqliteStore) -> None:
    await store.create("c", metadata={"user": "ada", "tag": "x"})
    await store.update("c", metadata={"user": "bob"}, merge=True)
    assert await names(store, labels={"user": "ada"}) == []
    assert await names(store, labels={"user": "bob", "tag": "x"}) == ["c"]
    await store.update("c", title="t")
    await store.fork("c", new_id="d")
    assert await names(store, labels={"user": "bob"}) == ["d", "c"]
    await store.update("c", metadata={})
    await store.delete("d")
    assert await names(store, labels={"user": "bob"}) == []


async def test_labels_whose_hashes_meet_are_still_told_apart(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("functions", "labels"):
        monkeypatch.setattr(f"stepwired.store.{module}.label_hash", lambda name, text: 7)
    await store.create("a", metadata={"x": "1", "y": "2"})
    await store.create("b", metadata={"x": "2"})
    assert await names(store, labels={"x": "1"}) == ["a"]
    assert functions.label_hashes({"x": "1", "y": "2"}) == {7}


async def test_imported_conversations_are_listed_by_their_own_time(store: SqliteStore) -> None:
    await store.create("c")
    await store.import_(Conversation("old", create_time_ns=5), [])
    assert await names(store) == ["c", "old"]


@pytest.mark.parametrize("after", ["x", "1", "1.2.3", ".", "1.x", "9" * 30 + ".1", "1." + "9" * 30, "é.1"])
async def test_a_place_that_this_store_did_not_name_is_refused(store: SqliteStore, after: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await store.list(after=after)
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.INVALID_PAGE_TOKEN, "page_token")
