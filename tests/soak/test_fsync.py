"""What the kernel is asked for, and in which order: nothing is acknowledged before it is on the disk."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import grpc
import pytest

from stepwire.v1 import conversation_pb2, conversation_pb2_grpc, message_pb2
from tests.program import HANG_S, running
from tests.soak.serving import SETTINGS

ROOT = Path(__file__).parents[2]
COUNT = 50

#: strace splits a call that another thread's line interrupts; it is done where it is resumed.
_LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")


@pytest.fixture
def strace(tmp_path: Path) -> list[str]:
    """The command that another is put behind; it writes to `trace` in the test's folder."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: on Debian or Ubuntu, apt install strace")
    calls = "fdatasync,fsync,pwrite64,write,sendmsg,sendto,writev"
    return ["strace", "-f", "-y", "-s", "70000", "-e", f"trace={calls}", "-o", str(tmp_path / "trace")]


def happened(trace: Path) -> list[str]:
    """What was written to the WAL, what was synced, and what was acknowledged, in the order in which it ended."""
    found: list[str] = []
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if (match := _LINE.match(line)) is None:
            continue
        thread, resumed, call, rest = match.groups()
        if call and rest.endswith("<unfinished ...>"):
            begun[thread] = f"{call}({rest}"
            if call in {"fdatasync", "pwrite64"}:
                continue  # a write to the disk counts when it has ended, an acknowledgement when it begins
        whole = f"{begun.get(thread, '')} {rest}" if resumed else f"{call}({rest}"
        name = resumed or call
        if name == "pwrite64" and ".db-wal>" in whole:
            found.append("write")
        elif name in {"fdatasync", "fsync"} and ".db-wal>" in whole:
            assert whole.rstrip().endswith("= 0"), whole
            found.append("sync")
        elif name in {"write", "writev", "sendmsg", "sendto"} and call:
            found += [f"ack {number}" for number in dict.fromkeys(re.findall(r"ack-(\d+)", whole))]
    return found


def check_full(events: list[str], count: int) -> None:
    """Between one acknowledgement and the next, the message was written and then synced."""
    at = 0
    for number in range(count):
        ack = events.index(f"ack {number}", at)
        before = events[at:ack]
        assert "write" in before, (number, before)
        assert "sync" in before, (number, before)
        assert "write" not in before[len(before) - before[::-1].index("sync") :], "and nothing written after that"
        at = ack


async def append_alone(strace: list[str], folder: Path, durability: str) -> list[str]:
    command = [*strace, sys.executable, "-m", "tests.soak.appender", str(folder / "data"), durability, str(COUNT)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.decode().split() == [f"ack-{number}" for number in range(COUNT)]
    return happened(folder / "trace")


async def test_a_full_store_syncs_before_each_acknowledgement(strace: list[str], tmp_path: Path) -> None:
    check_full(await append_alone(strace, tmp_path, "full"), COUNT)


async def test_a_relaxed_store_acknowledges_what_is_not_synced(strace: list[str], tmp_path: Path) -> None:
    events = await append_alone(strace, tmp_path, "relaxed")
    between = events[events.index("ack 0") : events.index(f"ack {COUNT - 1}")]
    assert between.count("write") >= COUNT - 1
    assert between.count("sync") <= 2, "checkpoints alone"


@pytest.mark.timeout(180)
async def test_the_server_syncs_before_it_answers(strace: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    async with running(folder, SETTINGS, below=strace) as program:
        [server] = program.children()
        try:
            async with program.channel() as channel:
                await append_through(channel)
        finally:
            os.kill(server, signal.SIGTERM)  # the tracer ends with it, and not the other way round
            await asyncio.wait_for(program.process.wait(), HANG_S)
    events = happened(tmp_path / "trace")
    check_full(events, COUNT)


async def append_through(channel: grpc.aio.Channel) -> None:
    stub = conversation_pb2_grpc.ConversationServiceStub(channel)
    await stub.CreateConversation(conversation_pb2.CreateConversationRequest(conversation_id="c"))
    for number in range(COUNT):
        message = message_pb2.Message(id=f"ack-{number}", text="x")
        await stub.AppendMessages(conversation_pb2.AppendMessagesRequest(conversation_id="c", messages=[message]))
