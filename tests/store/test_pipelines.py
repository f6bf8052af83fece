"""Pipelines in a store: their versions, lists and deletions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwire.v1 import pipeline_pb2, step_run_pb2
from stepwired import versions
from stepwired.errors import Conflict, InvalidRequest, NotFound, Reason
from stepwired.store.codec import pipelines as codec
from stepwired.store.sqlite import SqliteStore
from tests.store.saving import NOW_NS, all_of, content, refused, told, wire
from tests.store.talk import on_writer

# --- saving ---


async def test_a_saved_pipeline_comes_back_with_its_version_and_time(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, clock_ns=lambda: NOW_NS)
    saved = await store.save_pipeline("p", "", content())
    expected = wire()
    expected.name, expected.version = "p", "1"
    expected.create_time.FromNanoseconds(NOW_NS)
    assert codec.decode(saved.body) == expected
    assert (saved.name, saved.version, saved.create_time_ns) == ("p", "1", NOW_NS)
    assert await store.pipeline("p") == await store.pipeline("p", "1") == saved
    await store.close()


async def test_saving_the_same_again_changes_nothing(store: SqliteStore) -> None:
    first = await store.save_pipeline("p", "1.4", content())
    assert await store.save_pipeline("p", "1.4", content()) == first
    assert await store.save_pipeline("p", "", content()) == first
    assert await all_of(store, name="p") == ["p@1.4"]


async def test_a_version_never_changes(store: SqliteStore) -> None:
    first = await store.save_pipeline("p", "1", content())
    failure = await refused(Reason.PIPELINE_EXISTS, store.save_pipeline("p", "1", content("y")))
    assert isinstance(failure, Conflict)
    assert failure.subject is not None
    assert failure.subject.name == "p@1"
    assert await store.pipeline("p") == first


async def test_what_has_no_version_gets_the_first_number_after_the_highest(store: SqliteStore) -> None:
    assert (await store.save_pipeline("p", "", content("a"))).version == "1"
    assert (await store.save_pipeline("p", "", content("b"))).version == "2"
    await store.save_pipeline("p", "9.9", content("c"))
    await store.save_pipeline("p", "10.2", content("d"))
    assert (await store.save_pipeline("p", "", content("b"))).version == "11", "only the highest is compared"
    assert (await store.save_pipeline("q", "", content("b"))).version == "1"
    failure = await refused(Reason.PIPELINE_NOT_FOUND, store.pipeline("r"))
    assert isinstance(failure, NotFound)


async def test_a_version_that_nothing_can_follow_has_to_be_followed_by_hand(store: SqliteStore) -> None:
    await store.save_pipeline("p", "9" * 32, content("a"))
    failure = await refused(Reason.FIELD_REQUIRED, store.save_pipeline("p", "", content("b")))
    assert isinstance(failure, InvalidRequest)
    assert failure.violations[0].field == "pipeline.version"
    assert (await store.save_pipeline("p", "", content("a"))).version == "9" * 32


async def test_saves_at_once_get_versions_of_their_own_and_equal_ones_share_theirs(store: SqliteStore) -> None:
    saved = await asyncio.gather(*(store.save_pipeline("p", "", content(str(number))) for number in range(40)))
    assert {each.version for each in saved} == {str(number) for number in range(1, 41)}
    same = await asyncio.gather(*(store.save_pipeline("q", "", content()) for _ in range(40)))
    assert {each.version for each in same} == {"1"}


async def test_a_save_whose_caller_is_gone_is_done_all_the_same(store: SqliteStore) -> None:
    saving = asyncio.ensure_future(store.save_pipeline("p", "", content()))
    await asyncio.sleep(0)
    saving.cancel()
    await asyncio.wait([saving])
    await on_writer(store, "SELECT 1")  # behind it
    assert await all_of(store) == ["p@1"]


def test_equal_pipelines_are_equal_bytes_whatever_they_are_called_and_in_whatever_order_they_were_made() -> None:
    other = pipeline_pb2.Pipeline(
        name="n", version="7", labels={"a": "1", "b": "2"}, steps=[step_run_pb2.Step(named="x")], description="x"
    )
    other.create_time.FromNanoseconds(NOW_NS)
    other.input_schema.update({"n": 1, "properties": {"q": {"type": "string"}}, "type": "object"})
    assert codec.content(other) == content()
    assert codec.content(other) != content(additional=True)


def test_what_a_newer_client_says_beside_what_is_known_is_left_out() -> None:
    newer = pipeline_pb2.Pipeline.FromString(wire().SerializeToString() + b"\xfa\x7f\x03new")
    assert codec.content(newer) == content()


# --- lists ---


async def test_a_list_shows_the_highest_version_of_each_by_name_without_steps(store: SqliteStore) -> None:
    for name, version in [("b", "1.9"), ("b", "1.10"), ("a", "2"), ("a", "1"), ("c", "1.0"), ("c", "1")]:
        await store.save_pipeline(name, version, content(f"{name}{version}"))
    page, after = await store.pipelines()
    assert (told(page), after) == (["a@2", "b@1.10", "c@1.0"], "")
    for each in page:
        listed = codec.decode(each.body)
        assert not listed.steps
        whole = codec.decode((await store.pipeline(each.name)).body)
        whole.ClearField("steps")
        assert listed == whole
    assert await all_of(store, name="b") == ["b@1.10", "b@1.9"]
    assert await all_of(store, name="z") == []


async def test_pages_of_any_size_show_all_once(store: SqliteStore) -> None:
    for number in range(12):
        await store.save_pipeline(f"p{number:02}", "", content())
        await store.save_pipeline("p05", "", content(str(number)))
    names = [f"p{number:02}" for number in range(12)]
    ones = [f"p05@{number}" for number in range(12, 0, -1)]
    for page_size in (1, 5, 11, 12, 13):
        assert [each.partition("@")[0] for each in await all_of(store, page_size=page_size)] == names
        found = await all_of(store, name="p05", page_size=page_size)
        assert found == sorted(found, key=lambda each: versions.rank(each[4:]), reverse=True)
        assert set(found) >= set(ones)


async def test_what_is_saved_or_deleted_between_pages_moves_no_other(store: SqliteStore) -> None:
    for name in "bdfh":
        await store.save_pipeline(name, "", content())
    page, after = await store.pipelines(page_size=2)
    assert told(page) == ["b@1", "d@1"]
    await store.delete_pipeline("d")  # where the page ended
    await store.save_pipeline("a", "", content())
    await store.save_pipeline("e", "", content())
    await store.save_pipeline("h", "", content("2"))
    page, after = await store.pipelines(page_size=10, after=after)
    assert (told(page), after) == (["e@1", "f@1", "h@2"], "")
    for number in range(4):
        await store.save_pipeline("v", str(number), content(str(number)))
    page, after = await store.pipelines(name="v", page_size=2)
    assert told(page) == ["v@3", "v@2"]
    await store.delete_pipeline("v", "2")
    await store.save_pipeline("v", "7", content("7"))
    page, after = await store.pipelines(name="v", page_size=2, after=after)
    assert (told(page), after) == (["v@1", "v@0"], "")


async def test_a_page_takes_no_more_bytes_than_asked_unless_its_first_does(store: SqliteStore) -> None:
    for name in "abc":
        await store.save_pipeline(name, "", content("x" * 1000))
    size = len((await store.pipelines(page_size=1))[0][0].body)
    assert told((await store.pipelines(page_bytes=2 * size))[0]) == ["a@1", "b@1"]
    page, after = await store.pipelines(page_bytes=2 * size - 1)
    assert (told(page), after) == (["a@1"], "a")
    assert told((await store.pipelines(page_bytes=1, after=after))[0]) == ["b@1"]


async def test_the_start_reads_them_all_whole_in_pages(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwired.store.pipelines.PAGE_BYTES", 300)
    expected = [await store.save_pipeline(f"p{number // 4}", "", content(f"{number}" * 100)) for number in range(10)]
    assert [each async for each in store.whole_pipelines()] == expected


# --- deletions ---


async def test_a_deletion_takes_one_version_or_all_and_says_which(store: SqliteStore) -> None:
    for version in ("1", "1.10", "1.9"):
        await store.save_pipeline("p", version, content(version))
    await store.save_pipeline("q", "1", content())
    assert await store.delete_pipeline("p", "1.10") == ["1.10"]
    assert (await store.pipeline("p")).version == "1.9"
    await refused(Reason.PIPELINE_NOT_FOUND, store.delete_pipeline("p", "1.10"))
    await refused(Reason.PIPELINE_NOT_FOUND, store.pipeline("p", "1.10"))
    assert await store.delete_pipeline("p") == ["1", "1.9"]
    await refused(Reason.PIPELINE_NOT_FOUND, store.delete_pipeline("p"))
    assert await all_of(store) == ["q@1"]


async def test_a_deleted_version_may_be_saved_anew(store: SqliteStore) -> None:
    await store.save_pipeline("p", "1", content("old"))
    await store.delete_pipeline("p", "1")
    new = await store.save_pipeline("p", "1", content("new"))
    assert await store.pipeline("p") == new


# --- against a model ---

NAMES = st.sampled_from(["a", "b"])
NUMBERS = st.sampled_from(["", "1", "2", "1.5", "10", "9", "01"])
ACTS = st.lists(st.tuples(st.sampled_from(["save", "save", "save", "delete"]), NAMES, NUMBERS, st.sampled_from("xyz")))


@settings(max_examples=30, deadline=None)
@given(ACTS)
def test_any_acts_leave_what_a_dictionary_would_hold(acts: list[tuple[str, str, str, str]]) -> None:
    def key(version: str) -> tuple[list[int], str]:
        return [int(number) for number in version.split(".")], version

    async def check(folder: Path) -> None:
        store = await SqliteStore.open(folder, durability="relaxed")
        model: dict[str, dict[str, str]] = {}
        for act, name, version, text in acts:
            there = model.setdefault(name, {})
            highest = max(there, key=key, default="")
            try:
                if act == "delete":
                    gone = await store.delete_pipeline(name, version)
                    assert gone == ([version] if version else sorted(there, key=key))
                    for each in gone:
                        del there[each]
                else:
                    saved = (await store.save_pipeline(name, version, content(text))).version
                    if not version:
                        same = there.get(highest) == text
                        assert saved == (highest if same else str(key(highest)[0][0] + 1) if highest else "1")
                    there[saved] = text
            except NotFound:
                assert version not in there if version else not there
            except Conflict:
                assert there[version] != text
        for name, there in model.items():
            expected = [f"{name}@{version}" for version in sorted(there, key=key, reverse=True)]
            assert await all_of(store, name=name, page_size=2) == expected
            for version, text in there.items():
                assert codec.decode((await store.pipeline(name, version)).body).description == text
        await store.close()

    with TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))
