"""Opening a store: one process, one folder, files for their owner alone, and nothing of others touched."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import apsw
import pytest

from stepwired.errors import Failure, Misconfigured, Reason, Unavailable
from stepwired.store import database
from stepwired.store.sqlite import SqliteStore

OPEN = """
import asyncio, pathlib, sys
from stepwired.errors import Failure
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import on_writer
try:
    asyncio.run(SqliteStore.open(pathlib.Path(sys.argv[1])))
except Failure as failure:
    sys.exit(f"{failure.reason} {failure}")
"""


FORK = """
import asyncio, os, pathlib, sys
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import on_writer

async def main():
    store = await SqliteStore.open(pathlib.Path(sys.argv[1]))
    child = os.fork()
    if child == 0:
        for call in (store.create("c"), store.get("c")):
            try:
                call.send(None)
            except RuntimeError as error:
                os.write(2, str(error).encode())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    await store.create("mine")
    await store.close()

asyncio.run(main())
"""


async def run(code: str, folder: Path) -> tuple[int, str]:
    """Run Python code with a folder as its argument; the exit code and what it wrote to stderr."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, folder, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def test_a_second_process_is_refused_and_told_who_holds_the_store(store: SqliteStore, tmp_path: Path) -> None:
    code, errors = await run(OPEN, tmp_path / "data")
    assert code == 1
    assert errors.startswith("STORE_UNAVAILABLE")
    assert f"process {os.getpid()}:" in errors
    await store.create("c")  # the holder goes on


async def test_one_process_cannot_open_a_store_twice_but_again_after_closing(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path)
    with pytest.raises(Unavailable):
        await SqliteStore.open(tmp_path)
    await first.create("c")
    await first.close()
    second = await SqliteStore.open(tmp_path)
    assert (await second.get("c")).id == "c"
    await second.close()


async def test_a_forked_child_cannot_use_the_store_of_its_parent(tmp_path: Path) -> None:
    code, errors = await run(FORK, tmp_path)
    assert code == 0, errors
    assert errors.count("opened before a fork") == 2


async def test_files_are_for_their_owner_alone_and_a_new_folder_too(store: SqliteStore, tmp_path: Path) -> None:
    await store.create("c")
    folder = tmp_path / "data"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {entry.name: entry.stat().st_mode & 0o777 for entry in folder.iterdir()}
    assert {"stepwire.db", "stepwire.db-wal", "stepwire.lock"} <= set(files)
    assert set(files.values()) == {0o600}


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("relaxed", 1)])
def test_a_write_is_as_durable_as_was_asked(tmp_path: Path, durability: database.Durability, synchronous: int) -> None:
    home = database.Home(tmp_path)
    db = database.open_writer(home.path, durability)
    assert (db.pragma("synchronous"), db.pragma("journal_mode")) == (synchronous, "wal")
    db.close()
    home.close()


async def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "stepwire.db"
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(Misconfigured) as caught:
        await SqliteStore.open(tmp_path)
    assert "another program" in str(caught.value)
    db = apsw.Connection(str(path))
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    db.close()


@pytest.mark.parametrize("spoil", ["folder", "file"])
async def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "data"
    if spoil == "folder":
        folder.write_text("a file is in its place")
    else:
        (folder / "stepwire.db").mkdir(parents=True)
    with pytest.raises(Failure) as caught:
        await SqliteStore.open(folder)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert str(folder) in str(caught.value)
    assert "choose another data folder" in str(caught.value)
