"""The processes that decode: replaced when they hang, die or are given up, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from stepwired.errors import Broken, Reason, Unavailable
from stepwired.imaging.pool import Decoders
from stepwired.imaging.wire import Decoded
from stepwired.imaging.worker import Worker
from stepwired.limits import MIB, Limits
from tests.imaging.corpus import drawn, noise, png, slow_jpeg
from tests.processes import gone, is_there

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

FINE = Decoded(8, 8)


@asynccontextmanager
async def running(**limits: float) -> AsyncGenerator[Decoders]:
    decoders = Decoders(replace(Limits(), **limits), workers_count=1)  # type: ignore[arg-type]
    try:
        yield decoders
    finally:
        await decoders.close()


async def test_no_process_runs_before_the_first_picture_and_none_after_the_end() -> None:
    async with running() as decoders:
        assert decoders.pids == []
        assert await decoders.decode(png()) == FINE
        pids = decoders.pids
        assert len(pids) == 1
        assert is_there(pids[0])
    assert gone(pids)


async def test_one_process_serves_one_picture_after_the_other() -> None:
    async with running() as decoders:
        assert set(await asyncio.gather(*(decoders.decode(png()) for _ in range(20)))) == {FINE}
        assert len(decoders.pids) == 1


async def test_there_are_never_more_processes_than_allowed() -> None:
    decoders = Decoders(Limits(), workers_count=2)
    try:
        await asyncio.gather(*(decoders.decode(png()) for _ in range(20)))
        assert len(decoders.pids) == 2
    finally:
        await decoders.close()


async def test_a_picture_that_takes_too_long_costs_its_process_and_no_more() -> None:
    async with running(image_decode_s=0.3) as decoders:
        await decoders.decode(png())
        (pid,) = decoders.pids
        os.kill(pid, signal.SIGSTOP)  # as good as a picture that never ends
        assert await decoders.decode(png()) == Decoded(fault="damaged")
        assert gone([pid])
    async with running() as decoders:
        assert await decoders.decode(png()) == FINE


async def test_a_small_file_that_is_made_to_take_a_minute_is_given_up() -> None:
    async with running(image_decode_s=1.0) as decoders:
        assert await decoders.decode(slow_jpeg()) == Decoded(fault="damaged")
        assert decoders.pids == []
        assert await decoders.decode(png()) == FINE


async def test_a_picture_that_takes_too_much_memory_is_damaged_and_the_next_one_fine() -> None:
    async with running(image_decode_bytes=400 * MIB) as decoders:
        assert await decoders.decode(png()) == FINE
        assert await decoders.decode(drawn("WEBP", (9_000, 5_000), "RGBA", lossless=True)) == Decoded(fault="damaged")
        assert await decoders.decode(png()) == FINE


LARGEST: dict[str, dict[str, Any]] = {
    "JPEG": {"mode": "CMYK", "progressive": True},
    "PNG": {"mode": "RGBA", "compress_level": 1},
    "WEBP": {"mode": "RGBA", "lossless": True, "method": 0},
    "GIF": {"mode": "P"},
}


@pytest.mark.parametrize("kind", LARGEST)
async def test_every_picture_within_the_limits_fits_into_the_memory(kind: str) -> None:
    async with running() as decoders:
        assert await decoders.decode(drawn(kind, (10_000, 5_000), **LARGEST[kind])) == Decoded(10_000, 5_000)


async def test_a_cancelled_caller_leaves_nothing_behind_for_the_next() -> None:
    async with running() as decoders:
        await decoders.decode(png())
        (pid,) = decoders.pids
        os.kill(pid, signal.SIGSTOP)
        asking = asyncio.create_task(decoders.decode(noise("PNG", (600, 400))))
        while decoders.pids:  # noqa: ASYNC110 - until it is at work
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert gone([pid])
        assert await decoders.decode(png()) == FINE


async def test_a_caller_who_is_cancelled_while_a_process_starts_leaves_none() -> None:
    async with running() as decoders:
        for turns_count in (1, 2, 4, 8, 16, 64):
            asking = asyncio.create_task(decoders.decode(png()))
            for _ in range(turns_count):
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert await decoders.decode(png()) == FINE


async def test_a_process_that_died_meanwhile_is_replaced_unnoticed() -> None:
    async with running() as decoders:
        await decoders.decode(png())
        (pid,) = decoders.pids
        os.kill(pid, signal.SIGKILL)
        assert await decoders.decode(png()) == FINE
        assert decoders.pids != [pid]


async def test_a_picture_that_kills_every_process_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(self: Worker, data: bytes) -> Decoded:
        os.kill(self.pid, signal.SIGKILL)
        return await decode(self, data)

    decode = Worker.decode
    monkeypatch.setattr(Worker, "decode", dies)
    async with running() as decoders:
        assert await decoders.decode(noise("PNG", (2000, 1000))) == Decoded(fault="damaged")


async def test_what_cannot_be_started_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with running() as decoders:
        with pytest.raises(Broken) as caught:
            await decoders.decode(png())
        assert caught.value.reason is Reason.INTERNAL


async def test_after_the_end_nothing_is_decoded() -> None:
    async with running() as decoders:
        await decoders.close()
        with pytest.raises(Unavailable) as caught:
            await decoders.decode(png())
        assert caught.value.reason is Reason.SERVER_DRAINING


PROGRAM = """
import asyncio, sys
from stepwired.imaging.pool import Decoders
from stepwired.limits import Limits

async def main(picture):
    decoders = Decoders(Limits(), workers_count=1)
    await decoders.decode(picture)
    print(decoders.pids[0], flush=True)
    while sys.argv[1] == "busy":
        await decoders.decode(picture)
    await asyncio.sleep(60)

asyncio.run(main(sys.stdin.buffer.read()))
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_killed_parent_leaves_no_process(state: str) -> None:
    picture = drawn("WEBP", (8_000, 6_000), "RGBA", lossless=True, method=0) if state == "busy" else png()
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(picture)
        parent.stdin.close()
        pid = int(parent.stdout.readline())
        assert is_there(pid)
        parent.kill()
    assert gone([pid])


def test_the_service_itself_never_loads_pillow() -> None:
    check = "import sys, stepwired.imaging.intake, stepwired.imaging.pool; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
