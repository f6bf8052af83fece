"""Keeps one child process per local model: starts it when it is first needed, again when it died, and ends it.

A child that crashes takes its replies with it and nothing else. It is told its key through a pipe that also tells it
when we are gone, so that not even `kill -9` of this process leaves one behind.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from stepwired.errors import Failure, Misconfigured, Reason, Subject, Unavailable
from stepwired.local import catalogue, models
from stepwired.local.process import Address, Child, StartTimedOut
from stepwired.processes.child import StartFailed

_LOG = logging.getLogger("stepwired.local")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to leave a model alone whose process ends again and again."""

    stable_s: float = 10.0
    """One that lived this long is not part of a crash loop."""

    first_s: float = 0.5
    """After the second quick end in a row; doubled with each further one. After the first there is no wait."""

    max_s: float = 30.0

    def delay_s(self, ends_count: int) -> float:
        """Seconds to wait after that many quick ends in a row."""
        if ends_count < 2:
            return 0.0
        return float(min(self.max_s, self.first_s * 2.0 ** min(ends_count - 2, 30)))


class LocalModel:
    """An endpoint on this machine, whose address is only known once its process runs."""

    def __init__(
        self, data_dir: Path, name: str, *, start_timeout_s: float = 60.0, backoff: Backoff | None = None
    ) -> None:
        self._data_dir = data_dir
        self._name = name
        self._start_timeout_s = start_timeout_s
        self._backoff = backoff or Backoff()
        self._child: Child | None = None
        self._dead: Child | None = None  # noticed, not yet given back
        self._starting: asyncio.Task[Child] | None = None
        self._ends_count = 0
        self._not_before_s = 0.0
        self._last_failure: Failure | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """The model's name in the data folder."""
        return self._name

    @property
    def pid(self) -> int | None:
        """The running child, for tests and for people who look."""
        return self._child.pid if self._child is not None and self._child.is_alive else None

    async def address(self) -> Address:
        """Where the model answers now. Starts it if it does not run; callers at once share one start.

        Cost: 30 us while it runs: a poll, and a read of `/proc/PID/stat`. Cancelling a caller leaves the
        start to the others.

        Raises:
            Misconfigured: `MODEL_LOAD_FAILED`: it is not installed, or cannot be loaded.
            Unavailable: `MODEL_LOADING`: it takes too long to load, or ended too often; `SERVER_DRAINING`: we end.
        """
        if self._closed:
            raise self._draining()
        if self._child is not None and self._child.is_alive:
            return self._child.address
        if self._starting is None:
            self._refuse_too_soon()
            self._starting = asyncio.create_task(self._start(), name=f"start {self._name}")
            self._starting.add_done_callback(self._started)
        starting = self._starting
        await asyncio.wait([starting])  # unlike awaiting the task, this may be cancelled and leaves it alone
        if starting.cancelled():
            raise self._draining()
        if (failure := starting.exception()) is not None:
            raise failure.with_traceback(None)  # shared by the waiters, each would add to it
        return starting.result().address

    async def close(self) -> None:
        """End the child, and a start that is under way. Safe to call twice."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._child is not None:
            self._dead, self._child = self._child, None
        await self._bury()

    async def _bury(self) -> None:
        if self._dead is not None:
            dead, self._dead = self._dead, None
            await dead.end()

    def _refuse_too_soon(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._child is not None:  # and it is not alive, or nobody had asked
            self._dead, self._child = self._child, None
            self._note_end(self._dead.started_s, now_s)
            _LOG.error("the process of local model %s ended (%s)", self._name, self._dead.how_it_ended)
        wait_s = self._not_before_s - now_s
        if wait_s <= 0:
            return
        if self._last_failure is not None:
            raise self._last_failure.with_traceback(None)
        raise Unavailable(
            Reason.MODEL_LOADING,
            f"local model {self._name!r} ended {self._ends_count} times in a row; next start in {wait_s:.1f} s",
            retry_after_s=wait_s,
            metadata={"model": self._name},
            subject=self._subject,
        )

    def _note_end(self, started_s: float, now_s: float) -> None:
        quick = now_s - started_s < self._backoff.stable_s
        self._ends_count = self._ends_count + 1 if quick else 1
        self._not_before_s = now_s + self._backoff.delay_s(self._ends_count)

    async def _start(self) -> Child:
        await self._bury()
        arguments = self._arguments()
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            child = await Child.start(arguments, self._name, self._start_timeout_s)
        except StartTimedOut as cause:
            self._note_end(started_s, loop.time())
            message = f"local model {self._name!r} was not ready after {self._start_timeout_s:g} s"
            raise self._failed(
                Unavailable(Reason.MODEL_LOADING, message, metadata={"model": self._name}, subject=self._subject)
            ) from cause
        except (StartFailed, OSError) as cause:
            self._note_end(started_s, loop.time())
            _LOG.error("local model %s could not be started: %s", self._name, cause)
            message = (
                f"local model {self._name!r} could not be loaded; the server's log says why. "
                f"If its file is damaged: `stepwired models rm {self._name}`, then pull it again"
            )
            raise self._failed(
                Misconfigured(Reason.MODEL_LOAD_FAILED, message, metadata={"model": self._name}, subject=self._subject)
            ) from cause
        self._last_failure = None
        self._child = child
        _LOG.info(
            "local model %s runs as process %d, ready after %.2f s", self._name, child.pid, loop.time() - started_s
        )
        return child

    def _started(self, task: asyncio.Task[Child]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # seen: perhaps nobody waits any more

    def _arguments(self) -> list[str]:
        """The command line of the child. Holds no secret: every user of the machine can read it."""
        model = models.find(self._data_dir, self._name)
        if model is None:
            source = self._name if catalogue.find(self._name) else "FILE_OR_URL --name " + self._name
            message = f"local model {self._name!r} is not installed: run `stepwired models pull {source}`"
            raise Misconfigured(
                Reason.MODEL_LOAD_FAILED, message, metadata={"model": self._name}, subject=self._subject
            )
        if model.kind is catalogue.Kind.EMBED:
            return ["embed", "--model-dir", str(model.folder), "--name", model.name]
        arguments = ["chat", "--model", str(model.files[0]), "--name", model.name]
        if model.context_length is not None:  # no more than it was trained for
            arguments += ["--context-length", str(min(catalogue.CHAT_CONTEXT_LENGTH, model.context_length))]
        return arguments

    def _failed(self, failure: Failure) -> Failure:
        self._last_failure = failure
        return failure

    def _draining(self) -> Failure:
        return Unavailable(
            Reason.SERVER_DRAINING,
            f"local model {self._name!r} is being stopped",
            metadata={"model": self._name},
            subject=self._subject,
        )

    @property
    def _subject(self) -> Subject:
        return Subject("model", self._name)


class Supervisor:
    """All local models of one server, each with at most one process."""

    def __init__(self, data_dir: Path, *, start_timeout_s: float = 60.0) -> None:
        self._data_dir = data_dir
        self._start_timeout_s = start_timeout_s
        self._models: dict[str, LocalModel] = {}

    def model(self, name: str) -> LocalModel:
        """The endpoint of that name; the same one each time. Nothing is started, or looked for, yet."""
        if name not in self._models:
            self._models[name] = LocalModel(self._data_dir, name, start_timeout_s=self._start_timeout_s)
        return self._models[name]

    async def close(self) -> None:
        """End all processes, side by side."""
        async with asyncio.TaskGroup() as group:
            for model in self._models.values():
                group.create_task(model.close())
