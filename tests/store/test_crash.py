from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import apsw
import pytest

from stepwired.conversation import MessageView
from stepwired.store.sqlite import SqliteStore
from tests.store.writers import WRITERS

KILLS = 20
ROOT = Path(__file__).parents[2]


async def write_until_killed(folder: Path, answered: list[int], answers: int) -> list[tuple[int, int, int]]:
    """Let the writers run, kill -9 them after so many answers, and return all answers: writer, number, position."""
    command = [sys.executable, "-m", "tests.store.writers", str(folder), json.dumps(answered)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    seen = []
    async for line in process.stdout:
        if line.endswith(b"\n"):
            writer, number, position = map(int, line.split())
            seen.append((writer, number, position))
        if len(seen) == answers:
            process.kill()
    assert await process.wait() == -9, "it was killed and did not end by itself"
    return seen


@pytest.mark.timeout(300)  # twenty processes start, on a machine that may be busy
async def test_twenty_kills_lose_double_and_reorder_nothing(tmp_path: Path) -> None:
    answered = [-1] * WRITERS
    positions: dict[str, int] = {}
    seed = random.getrandbits(32)
    print(f"{seed=}")  # shown if it fails
    chance = random.Random(seed)
    for _ in range(KILLS):
        repeats = {f"{writer}-{answered[writer] + 1}" for writer in range(WRITERS)}
        for writer, number, position in await write_until_killed(tmp_path, answered, chance.randint(1, 300)):
            assert number == answered[writer] + 1
            answered[writer] = number
            if (name := f"{writer}-{number}") not in repeats:  # a repeat is answered with the count of now
                positions[name] = position
        store = await SqliteStore.open(tmp_path)
        order = [message.id async for page in store.messages("c", MessageView.ALL) for message in page]
        path = [message.id async for page in store.messages("c") for message in page]
        assert path == order, "one line without branches"
        assert (await store.get("c")).message_count == len(order) == len(set(order))
        assert [order[position - 1] for position in positions.values()] == list(positions)
        for writer in range(WRITERS):
            numbers = [int(name.split("-")[1]) for name in order if name.startswith(f"{writer}-")]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) - 1 in {answered[writer], answered[writer] + 1}
        await store.close()
    db = apsw.Connection(str(tmp_path / "stepwire.db"))
    assert db.pragma("integrity_check") == "ok"
    db.close()
    assert len(positions) > KILLS
