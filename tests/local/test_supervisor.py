from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from stepwired.errors import Misconfigured, Reason, Unavailable
from stepwired.local import models
from stepwired.local.process import Address
from stepwired.local.supervisor import Backoff, LocalModel, Supervisor
from tests.local.conftest import of_process, post

QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


@pytest.fixture
async def chat(data_dir: Path) -> AsyncGenerator[LocalModel]:
    model = LocalModel(data_dir, "smollm2", backoff=Backoff(stable_s=3600, first_s=60))
    yield model
    await model.close()


def children() -> set[int]:
    """Processes that this one has started and not yet reaped."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


def kill_and_wait(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(descriptor)


def wait_for_end(descriptor: int) -> None:
    """Wait until the process behind a pidfd has ended."""
    assert select.select([descriptor], [], [], 30)[0], "the process still runs"
    os.close(descriptor)


async def test_concurrent_first_uses_start_one_process(chat: LocalModel) -> None:
    before = children()
    addresses = await asyncio.gather(*(chat.address() for _ in range(50)))
    assert len(set(addresses)) == 1
    assert children() - before == {chat.pid}
    assert await chat.address() == addresses[0]


async def test_a_waiter_who_gives_up_leaves_the_start_to_the_others(chat: LocalModel) -> None:
    first, second = asyncio.create_task(chat.address()), asyncio.create_task(chat.address())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second).base_url.startswith("http://127.0.0.1:")


async def test_a_killed_child_is_replaced_at_the_next_use(chat: LocalModel, http: aiohttp.ClientSession) -> None:
    first = await chat.address()
    assert chat.pid is not None
    kill_and_wait(chat.pid)
    assert chat.pid is None  # known at once, whether the loop has heard of it or not
    second = await chat.address()
    assert second.api_key != first.api_key
    status, _ = await post(http, second, "/chat/completions", QUESTION)
    assert status == 200


async def test_a_reply_breaks_off_when_its_child_is_killed(chat: LocalModel, http: aiohttp.ClientSession) -> None:
    address = await chat.address()
    body = {**QUESTION, "max_tokens": 4000, "ignore_eos": True, "stream": True}
    headers = {"Authorization": f"Bearer {address.api_key}"}
    async with http.post(address.base_url + "/chat/completions", json=body, headers=headers) as answer:
        await answer.content.readline()
        assert chat.pid is not None
        os.kill(chat.pid, signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    status, _ = await post(http, await chat.address(), "/chat/completions", QUESTION)
    assert status == 200


async def test_a_crash_loop_is_left_alone_for_a_while(chat: LocalModel) -> None:
    for _ in range(2):
        await chat.address()
        assert chat.pid is not None
        kill_and_wait(chat.pid)
    for _ in range(3):
        with pytest.raises(Unavailable, match="ended 2 times in a row") as caught:
            await chat.address()
        assert caught.value.reason is Reason.MODEL_LOADING
        assert caught.value.retry_after_s is not None
        assert 0 < caught.value.retry_after_s <= 60


def test_back_off_grows_to_its_limit_and_spares_the_first_end() -> None:
    delays = [Backoff().delay_s(count) for count in (0, 1, 2, 3, 4, 100, 100_000)]
    assert delays == [0.0, 0.0, 0.5, 1.0, 2.0, 30.0, 30.0]


async def test_a_model_that_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    for _ in range(3):  # nothing to wait for: it may be installed at any moment
        with pytest.raises(Misconfigured, match="run `stepwired models pull smollm2`") as caught:
            await supervisor.model("smollm2").address()
        assert caught.value.reason is Reason.MODEL_LOAD_FAILED
        assert caught.value.retry_after_s is None
    with pytest.raises(Misconfigured, match="FILE_OR_URL --name other"):
        await supervisor.model("other").address()
    await supervisor.close()


async def test_a_file_that_cannot_be_loaded_fails_with_the_engines_words_in_the_log_only(
    tmp_path: Path, tiny_gguf: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    models.pull(tmp_path / "data", str(tiny_gguf()), name="broken")
    supervisor = Supervisor(tmp_path / "data")
    failures = await asyncio.gather(*(supervisor.model("broken").address() for _ in range(3)), return_exceptions=True)
    await supervisor.close()
    for failure in failures:
        assert isinstance(failure, Misconfigured)
        assert failure.reason is Reason.MODEL_LOAD_FAILED
        assert "could not be loaded" in str(failure)
        assert str(tmp_path) not in str(failure)
    assert "error loading model" in caplog.text
    assert children() == set()


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "{}",
        "[]",
        "3",
        '{"port": null}',
        '{"port": "80"}',
        '{"port": true}',
        '{"port": 0}',
        '{"port": 70000}',
        "x" * 100_000,
    ],
    ids=lambda line: line[:16],
)
async def test_a_program_that_announces_no_address_is_ended_and_left_alone_for_a_while(
    tmp_path: Path, tiny_gguf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    models.pull(tmp_path / "data", str(tiny_gguf()), name="odd")
    program, starts = tmp_path / "program", tmp_path / "starts"
    said = tmp_path / "said"
    said.write_text(line + "\n")
    program.write_text(f"#!/bin/sh\nread key\necho start >> {starts}\ncat {said}\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    before = children()
    model = LocalModel(tmp_path / "data", "odd", backoff=Backoff(stable_s=3600, first_s=60))
    for _ in range(4):
        with pytest.raises(Misconfigured, match="could not be loaded") as caught:
            await model.address()
        assert caught.value.reason is Reason.MODEL_LOAD_FAILED
    assert starts.read_text().count("start") == 2
    assert children() == before
    await model.close()


async def test_a_start_that_takes_too_long_is_ended(data_dir: Path) -> None:
    before = children()
    model = LocalModel(data_dir, "smollm2", start_timeout_s=0.0)
    with pytest.raises(Unavailable, match="was not ready after 0 s") as caught:
        await model.address()
    assert caught.value.reason is Reason.MODEL_LOADING
    assert children() == before
    await model.close()


async def test_closing_ends_processes_and_starts_under_way(data_dir: Path) -> None:
    before = children()
    supervisor = Supervisor(data_dir)
    await supervisor.model("minilm").address()
    waiter = asyncio.create_task(supervisor.model("smollm2").address())
    await asyncio.sleep(0)
    await supervisor.close()
    with pytest.raises(Unavailable, match="is being stopped"):
        await waiter
    assert children() == before
    with pytest.raises(Unavailable) as caught:
        await supervisor.model("minilm").address()
    assert caught.value.reason is Reason.SERVER_DRAINING
    await supervisor.close()


async def test_a_stopped_child_is_ended_all_the_same(chat: LocalModel) -> None:
    before = children()
    await chat.address()
    assert chat.pid is not None
    os.kill(chat.pid, signal.SIGSTOP)  # deaf to its pipe and to SIGTERM
    await chat.close()
    assert chat.pid is None
    assert children() == before


async def test_providers_keys_do_not_reach_a_child(chat: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-children")
    await chat.address()
    assert b"sk-not-for-children" not in of_process(chat.pid, "environ")


PARENT = """
import asyncio, sys
from pathlib import Path
from stepwired.local.supervisor import Supervisor

async def main():
    supervisor = Supervisor(Path(sys.argv[1]))
    for name in ("smollm2", "minilm"):
        await supervisor.model(name).address()
        print(supervisor.model(name).pid, flush=True)
    await asyncio.Event().wait()

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_kill_9_of_the_parent_leaves_no_child(data_dir: Path, loop: str) -> None:
    command = [sys.executable, "-c", PARENT, str(data_dir), loop]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        descriptors = [os.pidfd_open(int(parent.stdout.readline())) for _ in range(2)]
        parent.kill()
        for descriptor in descriptors:
            wait_for_end(descriptor)


def test_an_address_keeps_its_key_out_of_texts() -> None:
    assert "secret" not in repr(Address("http://127.0.0.1:1/v1", "secret"))
