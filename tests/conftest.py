"""What every test gets: the event loop, a check that nothing leaks, and no silent skips in CI."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

ROOT = Path(__file__).resolve().parent.parent
SETTLE_S = 20.0
"""How long what ends by itself may take; threads of gRPC took more than 5 on a machine that was very busy."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def grpc_poller() -> None:
    """Keep gRPC's poller, and its descriptors, from coming and going with each test."""
    grpc.aio.init_grpc_aio()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> None:
    """A shell that runs us in the background has us, and every program we start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def grpcurl() -> str:
    """Path of the program that people type requests with."""
    found = shutil.which("grpcurl", path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("grpcurl is missing: install Go, then run `make grpcurl`")
    return found


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Generator[None]:
    """Fail a test that leaves a task or a file descriptor behind.

    It is set up before the test's own fixtures and torn down after them, so that what they hold
    is not taken for a leak; fixtures of a wider scope belong to the baseline.
    """
    test = getattr(request.function, "hypothesis", None)
    if asyncio.iscoroutinefunction(test.inner_test if test else request.function):
        request.getfixturevalue("nothing_leaks_from_the_loop")
        yield
        return
    before = _descriptors()
    yield
    deadline = time.monotonic() + SETTLE_S
    while (left := _new(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"file descriptors left open: {left}"


@pytest.fixture
async def nothing_leaks_from_the_loop() -> AsyncGenerator[None]:
    tasks, before = _tasks(), _descriptors()
    yield
    # Sockets close and cancelled tasks end in later turns of the loop: wait for them, but not for ever.
    deadline = time.monotonic() + SETTLE_S
    while True:
        pending = _tasks() - tasks
        left = _new(before)
        if not (pending or left) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.01)
    assert not pending, f"tasks left running: {pending}"
    assert not left, f"file descriptors left open: {left}"


def _tasks() -> set[asyncio.Task[Any]]:
    """All tasks but those in which anyio's runner itself drives fixtures and tests."""
    return {
        task
        for task in asyncio.all_tasks()
        if not getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")
    }


def _new(before: dict[int, str]) -> list[str]:
    """Describe what is open now beyond `before`, by count: numbers and inodes are used again."""
    if len(_descriptors()) <= len(before):
        return []
    gc.collect()  # an exception's traceback may hold the last reference
    now = _descriptors()
    return [what for number, what in now.items() if before.get(number) != what] if len(now) > len(before) else []


def _descriptors() -> dict[int, str]:
    """What each descriptor of this process is open on; nothing where /proc is missing."""
    found = {}
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            found[int(entry.name)] = str(entry.readlink())
        except OSError:  # the descriptor that lists the folder
            continue
    return found


# `make test` tells what it skipped and why. In CI everything is there, so a skip is a mistake.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, object, object]:
    """Refuse a fixture that keeps one event loop, and what it runs, for all tests after it."""
    is_async = inspect.isasyncgenfunction(fixturedef.func) or inspect.iscoroutinefunction(fixturedef.func)
    if is_async and isinstance(request.node, pytest.Session):
        pytest.fail(f"{fixturedef.argname} would keep its loop for the whole session: give it the scope of a module")
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: Any) -> None:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and os.environ.get("STEPWIRE_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which STEPWIRE_NO_SKIP forbids: {report.longrepr[2]}"
