"""Files of the caller: what is there is never harmed, and what blocks holds nobody up."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, AsyncConversation, errors
from stepwire.v1 import conversation_pb2 as wire
from tests.sdk.pictures import PNG
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server

HANG_S = 30.0

CONTENT = b"one two"


@pytest.fixture
def exporting(server: Server) -> Server:
    async def export(request: Any, context: Any) -> AsyncGenerator[wire.ExportConversationResponse, None]:
        yield wire.ExportConversationResponse(chunk=b"one ")
        yield wire.ExportConversationResponse(chunk=b"two")

    server.on["ExportConversation"] = export
    return server


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


async def export(client: AsyncClient, target: Any) -> int:
    return await client.export_conversation("c1", target)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_pipe(path: Path) -> bool:
    return stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.usefixtures("exporting")
async def test_a_pipe_is_written_to_and_stays_a_pipe(client: AsyncClient, fifo: Path) -> None:
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.append(fifo.read_bytes()), daemon=True)
    reading.start()
    assert await asyncio.wait_for(export(client, fifo), HANG_S) == len(CONTENT)
    assert is_pipe(fifo)
    await asyncio.wait_for(asyncio.to_thread(reading.join), HANG_S)
    assert found == [CONTENT]


@pytest.mark.usefixtures("exporting")
async def test_a_link_is_followed_and_the_mode_of_what_was_there_is_kept(client: AsyncClient, tmp_path: Path) -> None:
    kept, link = tmp_path / "kept.json", tmp_path / "link.json"
    kept.write_bytes(b"old")
    kept.chmod(0o640)
    link.symlink_to(kept)
    await export(client, link)
    assert link.is_symlink()
    assert kept.read_bytes() == CONTENT
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640


@pytest.mark.usefixtures("exporting")
async def test_a_new_file_has_the_mode_that_new_files_have(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    await export(client, tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.usefixtures("exporting")
async def test_files_beside_it_stay_as_they_are(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "c1.json.part").write_bytes(b"mine")
    await export(client, tmp_path / "c1.json")
    assert (tmp_path / "c1.json.part").read_bytes() == b"mine"
    assert names(tmp_path) == ["c1.json", "c1.json.part"]


async def test_two_exports_to_one_file_leave_one_whole_file(
    client: AsyncClient, server: Server, tmp_path: Path
) -> None:
    both = asyncio.Barrier(2)

    async def export_slowly(request: Any, context: Any) -> AsyncGenerator[wire.ExportConversationResponse, None]:
        for _ in range(3):
            await both.wait()
            yield wire.ExportConversationResponse(chunk=request.conversation_id.encode())

    server.on["ExportConversation"] = export_slowly
    path = tmp_path / "c.json"
    await asyncio.gather(*(client.export_conversation(name, path) for name in ("aa", "bb")))
    assert path.read_bytes() in {b"aa" * 3, b"bb" * 3}
    assert names(tmp_path) == ["c.json"]


async def test_an_export_that_fails_or_is_cancelled_leaves_nothing(
    client: AsyncClient, server: Server, tmp_path: Path
) -> None:
    begun = asyncio.Event()

    async def hang(request: Any, context: Any) -> AsyncGenerator[wire.ExportConversationResponse, None]:
        yield wire.ExportConversationResponse(chunk=b"one ")
        begun.set()
        await asyncio.Event().wait()

    async def fail(request: Any, context: Any) -> AsyncGenerator[wire.ExportConversationResponse, None]:
        yield wire.ExportConversationResponse(chunk=b"one ")
        await refuse(context, grpc.StatusCode.INTERNAL, reason="INTERNAL")

    server.on["ExportConversation"] = hang
    running = asyncio.create_task(export(client, tmp_path / "c1.json"))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    server.on["ExportConversation"] = fail
    with pytest.raises(errors.Error):
        await export(client, tmp_path / "c1.json")
    assert names(tmp_path) == []


@pytest.mark.usefixtures("exporting")
async def test_a_failure_names_the_path_that_was_given(client: AsyncClient, tmp_path: Path) -> None:
    for path, kind in ((tmp_path / "no" / "c1.json", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind) as failed:
            await export(client, path)
        assert failed.value.filename == str(path)


async def test_waiting_for_a_pipe_that_nobody_writes_to_can_be_cancelled(client: AsyncClient, fifo: Path) -> None:
    conversation = AsyncConversation()
    for call in (client.upload_image(fifo), conversation.add_message_with_image("user", "", fifo)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await call
    # Threads that nobody can wake must not hold up the end of the loop: it waits for those of its own executor.
    await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), HANG_S)


READS = """
import asyncio, sys
from stepwire import AsyncClient

async def main():
    async with AsyncClient(sys.argv[1]) as client:
        upload = asyncio.create_task(client.upload_image(sys.argv[2]))
        await asyncio.to_thread(sys.stdin.readline)  # it reads
        upload.cancel()
        await asyncio.wait([upload])
        print("cancelled", upload.cancelled())

asyncio.run(main())
"""


@pytest.mark.parametrize("begin", [b"", PNG[:20]], ids=["silent", "with a beginning"])
def test_a_read_that_blocks_can_be_cancelled_and_the_program_ends(far_server: Server, fifo: Path, begin: bytes) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", READS, far_server.target, fifo], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child, fifo.open("wb", buffering=0) as writing:  # opened as soon as it is open there
        writing.write(begin)
        try:
            said, _ = child.communicate(b"\n", HANG_S)
        finally:
            child.kill()
    assert (said, child.returncode) == (b"cancelled True\n", 0)


@pytest.mark.parametrize("command", ["import", "export"])
def test_ctrl_c_ends_a_command_that_waits_for_a_pipe(far_server: Server, fifo: Path, command: str) -> None:
    far_server.on["ExportConversation"] = _much
    options: list[Any] = ["import", fifo] if command == "import" else ["export", "c1", "-o", fifo]
    program = Path(sys.executable).with_name("stepwire")
    child = subprocess.Popen([program, "-s", far_server.target, "conversations", *options], stderr=subprocess.PIPE)
    with child, fifo.open("wb" if command == "import" else "rb", buffering=0):
        child.send_signal(signal.SIGINT)
        try:
            _, said = child.communicate(timeout=HANG_S)
        finally:
            child.kill()
    assert (said.strip(), child.returncode) == (b"cancelled", 130)


async def _much(request: Any, context: Any) -> AsyncGenerator[wire.ExportConversationResponse, None]:
    for _ in range(100):
        yield wire.ExportConversationResponse(chunk=bytes(64 * 1024))


@pytest.mark.parametrize("wrong", [None, 5, object()])
async def test_what_is_no_file_is_refused_by_its_type(client: AsyncClient, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        await client.upload_image(wrong)
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        await AsyncConversation().add_message_with_image("user", "", wrong)
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        await client.export_conversation("c1", wrong)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
async def test_bytes_of_every_kind_are_a_picture(client: AsyncClient, kind: Any) -> None:
    stored = await client.upload_image(kind(PNG))
    assert (await client.download_image(stored.blob_id)).data == PNG
