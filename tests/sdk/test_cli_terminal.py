"""The command on a terminal: live text, Ctrl-C, the talk, the bar."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stepwire import Client
from tests.sdk import defaults
from tests.sdk.scripted import Server, for_ever

HANG_S = 20.0

# Makes the terminal the child's own, so that Ctrl-C typed there becomes a signal.
TRAMPOLINE = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command that runs in a terminal of its own."""

    def __init__(self, child: subprocess.Popen[bytes], master: int) -> None:
        self._child = child
        self._master = master
        self.seen = ""
        self._read_to = 0

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until `text` has come, after all that was waited for before."""
        deadline = time.monotonic() + HANG_S
        while (found := self.seen.find(text, self._read_to)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            try:
                self.seen += os.read(self._master, 65536).decode()
            except OSError as closed:  # how Linux says that the other side has ended
                raise AssertionError(f"ended without {text!r}: {self.seen!r}") from closed
        self._read_to = found + len(text)

    def interrupted(self) -> int:
        """Press Ctrl-C until it ends, and tell how: Python loses one that comes just before it waits for a line."""
        while True:
            self.type("\x03")
            if select.select([self._master], [], [], 2.0)[0] and self._ended_within(2.0):
                return self.status()

    def _ended_within(self, limit_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(limit_s)
        return self._child.poll() is not None

    def status(self) -> int:
        while True:
            try:
                if not (more := os.read(self._master, 65536)):
                    break
            except OSError:
                break
            self.seen += more.decode()
        return self._child.wait(HANG_S)


Start = Callable[..., Terminal]


@pytest.fixture
def start(far_server: Server) -> Generator[Start]:
    with terminals(far_server) as opened:
        yield opened


@contextmanager
def terminals(server: Server) -> Generator[Start]:
    opened: list[tuple[subprocess.Popen[bytes], int]] = []

    def open_one(*arguments: str) -> Terminal:
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 100))
        program = str(Path(sys.executable).with_name("stepwire"))
        child = subprocess.Popen(
            [sys.executable, "-c", TRAMPOLINE, program, "-s", server.target, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(slave)
        opened.append((child, master))
        return Terminal(child, master)

    try:
        yield open_one
    finally:
        for child, master in opened:
            child.kill()
            child.wait()
            os.close(master)


def test_ctrl_c_cancels_the_reply_says_so_and_ends_with_130(start: Start, far_server: Server) -> None:
    far_server.on["StreamChat"] = for_ever
    terminal = start("chat", "hi")
    terminal.wait_for("once ")
    terminal.type("\x03")
    assert terminal.status() == 130
    assert "cancelled" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert far_server.script.ended.wait(HANG_S)


def test_ctrl_c_before_the_first_word_cancels_too(start: Start, far_server: Server) -> None:
    begun = threading.Event()

    async def silent(request: Any, context: Any) -> Any:
        begun.set()
        async for _ in for_ever(request, context):
            pass
        yield

    far_server.on["StreamChat"] = silent
    terminal = start("--json", "chat", "hi")
    assert begun.wait(HANG_S)
    terminal.type("\x03")
    assert terminal.status() == 130
    assert '{"error":{"code":"CANCELLED","message":"cancelled"}}' in terminal.seen
    assert far_server.script.ended.wait(HANG_S)


def test_a_talk_remembers_survives_ctrl_c_and_ends_with_ctrl_d(start: Start, far_server: Server) -> None:
    terminal = start("chat", "-q")
    terminal.wait_for("> ")
    terminal.type("first\r")
    terminal.wait_for("you said first")
    far_server.on["StreamChat"] = for_ever
    terminal.wait_for("> ")  # a key typed before the prompt would be lost
    terminal.type("second\r")
    terminal.wait_for("once ")
    terminal.type("\x03")
    terminal.wait_for("cancelled")
    far_server.on["StreamChat"] = defaults.behaviours()["StreamChat"]
    terminal.wait_for("> ")
    terminal.type("third\r")
    terminal.wait_for("you said third")
    terminal.wait_for("> ")
    terminal.type("\x04")
    assert terminal.status() == 0
    told = [(message.role, message.text) for message in far_server.script.last("StreamChat").messages]
    assert told == [
        ("user", "first"),
        ("assistant", "you said first"),
        ("user", "second"),
        ("assistant", "once "),
        ("user", "third"),
    ]


def test_a_terminal_is_spared_what_a_model_might_tell_it(start: Start, far_server: Server) -> None:
    terminal = start("chat", "-q", "\x1b]0;owned\x07")
    assert terminal.status() == 0
    assert "you said ]0;owned" in terminal.seen
    assert "\x1b]0" not in terminal.seen


def test_a_batch_shows_how_far_it_is(start: Start, far_server: Server, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("line\n" * 50)
    terminal = start("embed", "-f", str(file), "-o", str(tmp_path / "v.npy"))
    assert terminal.status() == 0
    assert "50/50" in terminal.seen
    assert "50 vectors written" in terminal.seen


def test_a_watch_shows_what_is_said_meanwhile_until_ctrl_c(start: Start, far_server: Server) -> None:
    with Client(far_server.target) as client:
        client.create_conversation(conversation_id="c1", messages=["before"])
        terminal = start("conversations", "watch", "c1")
        terminal.wait_for("Ctrl-C ends it")
        assert begun(far_server, "WatchConversation")
        client.append("c1", ["meanwhile \x1b[2J"])
        terminal.wait_for("user: meanwhile [2J")
        client.append("c1", [{"role": "assistant", "text": "and more"}])
        terminal.wait_for("assistant: and more")
    terminal.type("\x03")
    assert terminal.status() == 130
    assert "before" not in terminal.seen
    assert far_server.script.ended.wait(HANG_S)


def begun(server: Server, method: str) -> bool:
    """Wait until a method was called."""
    deadline = time.monotonic() + HANG_S
    while not server.script.count(method) and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(server.script.count(method))


def test_a_deletion_asks_on_the_terminal(start: Start, far_server: Server) -> None:
    with Client(far_server.target) as client:
        client.create_conversation(conversation_id="c1", title="cats", messages=["hi"])
    terminal = start("conversations", "delete", "c1")
    terminal.wait_for("Delete c1 “cats”, 1 message? [y/N]")
    terminal.type("\r")
    assert terminal.status() == 1
    terminal = start("conversations", "delete", "c1")
    terminal.wait_for("[y/N]")
    assert terminal.interrupted() == 130
    assert "Aborted" not in terminal.seen
    assert far_server.script.count("DeleteConversation") == 0


def test_what_was_found_stands_out_and_the_tree_has_its_marks(start: Start, far_server: Server) -> None:
    with Client(far_server.target) as client:
        client.create_conversation(conversation_id="c1", messages=["a kitten sleeps"])
    found = start("conversations", "search", "kitten")
    assert found.status() == 0
    assert "\x1b[1;30;43mkitten\x1b[0m" in found.seen
    drawn = start("conversations", "tree", "c1")
    assert drawn.status() == 0
    assert "◀ head" in drawn.seen
    assert "└── " in drawn.seen
