"""Pulls that are interrupted, killed, out of room, or two at once: nothing is left, and nothing half."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stepwired.local import models
from stepwired.local.fetch import Progress, PullError
from tests.local.conftest import TinyGguf, left_in


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done_bytes > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.pull(tmp_path / "data", str(tiny_gguf(padding=3_000_000)), report=interrupt)
    assert left_in(tmp_path / "data") == []


PULL = """
import sys
from pathlib import Path
from stepwired.local import models
models.pull(Path(sys.argv[1]), sys.argv[2], name="mine", report=lambda p: print(p.done_bytes, flush=True))
"""


def test_what_a_killed_pull_left_is_swept_up_by_the_next(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    data, slow = tmp_path / "data", tmp_path / "slow"
    os.mkfifo(slow)
    pull = subprocess.Popen([sys.executable, "-c", PULL, str(data), str(slow)], stdout=subprocess.PIPE)
    assert pull.stdout is not None
    with slow.open("wb", buffering=0) as pipe, pull.stdout:
        for _ in range(20):  # a pipe holds less than a chunk: several make one, and the first report
            pipe.write(bytes(60_000))
        pull.stdout.readline()
        assert models.installed(data) == []
        pull.send_signal(signal.SIGKILL)
        pull.wait()
    assert len(left_in(data)) == 1
    models.pull(data, str(tiny_gguf()), name="mine")
    assert left_in(data) == ["mine"]


def test_a_disk_that_refuses_to_hold_it_leaves_nothing(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    source = tiny_gguf(padding=3_000_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    done = subprocess.run(
        [sys.executable, "-c", PULL, str(tmp_path / "data"), str(source)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in done.stderr
    assert left_in(tmp_path / "data") == []


def test_of_two_pulls_at_once_the_second_waits_and_sees_the_first(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    data, slow, source = tmp_path / "data", tmp_path / "slow", tiny_gguf()
    os.mkfifo(slow)
    waits = threading.Event()
    results: dict[str, str] = {}

    def report(progress: Progress) -> None:
        if progress.activity.startswith("waiting"):
            waits.set()

    def pull(path: Path) -> None:
        try:
            results[path.name] = models.pull(data, str(path), name="mine", report=report).name
        except PullError as failure:
            results[path.name] = str(failure)

    first = threading.Thread(target=pull, args=(slow,))
    first.start()
    with slow.open("wb") as pipe:  # opens once the first pull reads: it holds the lock
        second = threading.Thread(target=pull, args=(source,))
        second.start()
        assert waits.wait(30)
        pipe.write(source.read_bytes())
    first.join()
    second.join()
    assert results["slow"] == "mine"
    assert "is taken" in results["tiny.gguf"]
