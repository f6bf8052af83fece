"""Pipelines in a store that another process opens, or that was made by an older one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest

from stepwired.errors import Broken, Reason
from stepwired.store import database, kept_replies
from stepwired.store.codec import pipelines as codec
from stepwired.store.sqlite import SqliteStore
from tests.store.saving import content
from tests.store.talk import check_whole, on_writer, said


async def test_another_process_finds_what_was_answered(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    saved = [await store.save_pipeline(name, "", content(name)) for name in "abc"]
    await store.delete_pipeline("b")
    await store.close()
    again = await SqliteStore.open(tmp_path)
    assert [each async for each in again.whole_pipelines()] == [saved[0], saved[2]]
    await check_whole(again)
    await again.close()


async def test_a_damaged_pipeline_is_told_from_a_missing_one(store: SqliteStore) -> None:
    await store.save_pipeline("p", "", content())
    await on_writer(store, "UPDATE pipeline SET steps = x'ff'")
    kept = await store.pipeline("p")
    with pytest.raises(Broken) as caught:
        codec.decode(kept.body)
    assert caught.value.reason is Reason.STORE_CORRUPT


async def test_a_store_of_the_second_schema_opens_with_all_it_has_and_keeps_pipelines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = database.migrations()
    with monkeypatch.context() as older:
        older.setattr(database, "migrations", lambda: {number: known[number] for number in (1, 2)})
        older.setattr(kept_replies, "sweep", lambda *_: True)  # that program knew of no replies
        store = await SqliteStore.open(tmp_path)
        await store.create("c", metadata={"team": "blue"}, messages=said("fox"))
        await store.close()
    with monkeypatch.context() as broken:
        broken.setattr(database, "migrations", lambda: known | {3: f"{known[3]}; SELECT no FROM such"})
        with pytest.raises(apsw.Error):
            await SqliteStore.open(tmp_path)
    for version in ("1", "2"):
        store = await SqliteStore.open(tmp_path)
        assert [each.id for each in (await store.list(labels={"team": "blue"}))[0]] == ["c"]
        assert [hit.message_id for hit in (await store.search("fox"))[0]] == ["fox"]
        assert (await store.save_pipeline("p", "", content(version))).version == version
        await check_whole(store)
        await store.close()


def test_a_schema_that_was_given_to_users_never_changes() -> None:
    digests = {
        number: hashlib.sha256(sql.encode()).hexdigest()[:16] for number, sql in sorted(database.migrations().items())
    }
    assert digests == {1: "5ef065dec1d26572", 2: "4b420512acd1acd3", 3: "ce331bdf147f60e5", 4: "3615d2f0fc6f6f6e"}
