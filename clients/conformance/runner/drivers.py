"""A driver that runs: tells it what to call, and passes on what it answers."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.conformance.runner.languages import ROOT, Language

HANG_S = 60.0
"""After so long a call counts as hung; nothing is measured with it."""

_LONGEST_LINE_BYTES = 128 * 1024 * 1024


class DriverFault(Exception):
    """A driver did not keep to PROTOCOL.md: it ended, was silent or spoke nonsense."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a driver says of a call that has ended; see PROTOCOL.md."""

    code: str
    message: str
    messages: Sequence[bytes]
    details: bytes
    headers: dict[str, str]
    trailers: dict[str, str]
    typed: dict[str, Any]
    ended_ms: float
    cancelled_ms: float | None

    @classmethod
    def of(cls, said: dict[str, Any]) -> Answer:
        """Read one."""
        try:
            return cls(
                code=said["code"],
                message=said["message"],
                messages=[base64.b64decode(each, validate=True) for each in said["messages"]],
                details=base64.b64decode(said["status_details"], validate=True),
                headers=said["headers"],
                trailers=said["trailers"],
                typed=said["typed"],
                ended_ms=float(said["ended_ms"]),
                cancelled_ms=None if said["cancelled_ms"] is None else float(said["cancelled_ms"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DriverFault(f"an answer that PROTOCOL.md does not know: {error!r}") from error


class Call:
    """A call that a driver was told to make."""

    def __init__(self, driver: Driver, identity: str) -> None:
        self._driver, self._id = driver, identity
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())  # may go unread
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.progress: list[bytes] = []
        """Messages that were told of by now."""
        self.was_cancelled = False
        """Whether the driver was told to cancel it."""
        self.begun_ms, self.told_ms = time.time() * 1000, 0.0
        """When the driver was told of it, and when it told the end."""

    async def send(self, request: bytes) -> None:
        """Send one request more."""
        await self._driver.say(id=self._id, send=base64.b64encode(request).decode())

    async def close(self) -> None:
        """End the requests."""
        await self._driver.say(id=self._id, close=True)

    async def cancel(self) -> None:
        """Cancel it, as the language does it."""
        self.was_cancelled = True
        await self._driver.say(id=self._id, cancel=True)

    async def next(self) -> bytes | None:
        """Wait for the next message; None if the call has ended. Needs `progress`."""
        message: bytes | None = await patient(self._arrived.get(), "no further message came")
        if message is not None:
            self.progress.append(message)
        return message

    async def end(self) -> Answer:
        """Wait for the end of the call."""
        answer: Answer = await patient(asyncio.shield(self._answer), "the call did not end")
        while not self._arrived.empty():  # what nobody waited for
            if (message := self._arrived.get_nowait()) is not None:
                self.progress.append(message)
        return answer

    def told(self, said: dict[str, Any]) -> None:
        """Take what the driver says of this call."""
        if "message" in said and "code" not in said:
            self._arrived.put_nowait(base64.b64decode(said["message"]))
        elif not self._answer.done():
            self.told_ms = time.time() * 1000
            try:
                self._answer.set_result(Answer.of(said))
            except DriverFault as fault:
                self._answer.set_exception(fault)
            self._arrived.put_nowait(None)
        else:
            self._driver.broke(DriverFault("two answers to one call"))

    def lost(self, fault: DriverFault) -> None:
        """Learn that the driver is gone."""
        if not self._answer.done():
            self._answer.set_exception(fault)
        self._arrived.put_nowait(None)


class Driver:
    """A driver's process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log
        self._calls: dict[str, Call] = {}
        self._ids = map(str, itertools.count(1))
        self.fault: DriverFault | None = None

    async def begin(self, method: str, requests: Sequence[bytes], **options: Any) -> Call:
        """Tell it to make a call."""
        if self.fault:
            raise self.fault
        identity = next(self._ids)
        call = self._calls[identity] = Call(self, identity)
        encoded = [base64.b64encode(request).decode() for request in requests]
        given = {key: value for key, value in options.items() if value is not None}
        await self.say(id=identity, call=method, requests=encoded, **given)
        return call

    async def say(self, **command: Any) -> None:
        """Send one command."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            await patient(self.process.stdin.drain(), "the driver reads no commands")
        except ConnectionError as error:
            raise self.fault or DriverFault("the driver has ended") from error

    async def listen(self) -> None:
        """Pass on what it says, until it ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            try:
                said = json.loads(line)
                call = self._calls[said["id"]]
            except (ValueError, KeyError, TypeError):
                self.broke(DriverFault(f"a line that PROTOCOL.md does not know: {line[:200]!r}"))
                return
            call.told(said)
        status = await self.process.wait()
        tail = self._log.read_text(errors="replace")[-600:].strip()
        self.broke(DriverFault(f"the driver ended with {status}: {tail or 'it said nothing'}"))

    def broke(self, fault: DriverFault) -> None:
        """Note that it cannot be used any more."""
        self.fault = self.fault or fault
        for call in self._calls.values():
            call.lost(self.fault)


async def patient(waited: Any, complaint: str) -> Any:
    """Wait for something, but not for ever."""
    try:
        return await asyncio.wait_for(waited, HANG_S)
    except TimeoutError:
        raise DriverFault(f"{complaint} within {HANG_S:.0f} s") from None


@asynccontextmanager
async def driving(language: Language, address: str, log: Path) -> AsyncGenerator[Driver]:
    """Run a driver that talks to `address`. At the end its input is closed, and it has to end by itself."""
    process = await _started([*language.command, address], log)
    driver = Driver(process, log)
    listening = asyncio.create_task(driver.listen())
    try:
        yield driver
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), HANG_S)
        except TimeoutError:
            process.kill()
            driver.fault = driver.fault or DriverFault("the driver does not end with its input")
        listening.cancel()
        await asyncio.wait([listening])
        await process.wait()


async def _started(command: Sequence[str], log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as stderr:
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                limit=_LONGEST_LINE_BYTES,
            )
        except OSError as error:
            raise DriverFault(f"the driver cannot be started: {error}") from error
