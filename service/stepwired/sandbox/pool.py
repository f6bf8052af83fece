"""Keeps the child processes that run JavaScript: there from the start, replaced when a function ended one."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count

import msgspec

from stepwired.errors import Broken, Failure, Reason, Unavailable
from stepwired.limits import Limits
from stepwired.processes.child import StartFailed
from stepwired.processes.worker import Ended, Worker
from stepwired.sandbox import wire
from stepwired.sandbox.calls import Run, source_fault
from stepwired.sandbox.outcomes import SIGNAL_OF_TIME
from stepwired.sandbox.turns import Job, Turns

_LOG = logging.getLogger("stepwired.sandbox")

_VERDICTS = 1024
"""Sources of which it is remembered whether they are functions."""

_DYING_S = 1.0
"""How long a process that hung up may take to end. Who kills it before that does not learn what ended it."""

_UNMADE = "it cannot be made within its limits"


class Sandbox:
    """Runs functions that callers wrote in JavaScript. Made by `open`, always given back to `close`.

    A call that ends its process, or has to be ended with it, costs the others a new process and nothing else: what is
    asked for again there is made again.
    """

    def __init__(self, limits: Limits, processes_count: int, start_timeout_s: float) -> None:
        self._limits = limits
        self._budget = wire.Budget.of(limits)
        self._start_timeout_s = start_timeout_s
        self._turns = Turns()
        self._runs = count(1)
        self._jobs: set[Job] = set()
        self._ended_runs: list[list[int]] = [[] for _ in range(processes_count)]
        self._workers: list[Worker | None] = [None] * processes_count
        self._verdicts: OrderedDict[bytes, str | None] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closed = False

    @classmethod
    async def open(cls, limits: Limits, *, processes_count: int = 2, start_timeout_s: float = 30.0) -> Sandbox:
        """Start all processes and wait until they are ready.

        Args:
            limits: Those of functions, `metadata_depth` for their values.
            processes_count: Functions that can run at the same moment.
            start_timeout_s: How long a process may take to be ready.

        Raises:
            Broken: INTERNAL: one cannot be started.
        """
        sandbox = cls(limits, processes_count, start_timeout_s)
        ready = [asyncio.get_running_loop().create_future() for _ in range(processes_count)]
        sandbox._tasks = [
            asyncio.create_task(sandbox._work(place, ready[place]), name=f"functions {place}")
            for place in range(processes_count)
        ]
        is_open = False
        try:
            is_open = all(await asyncio.gather(*ready))
        finally:
            if not is_open:
                await sandbox.close()
        if not is_open:
            raise _none_can_be_started()
        return sandbox

    @property
    def pids(self) -> list[int]:
        """The processes there are, for tests and for people who look."""
        return [worker.pid for worker in self._workers if worker is not None]

    async def faults(self, sources: Sequence[str]) -> Sequence[str | None]:
        """Say of each source why it is no function; None where it is one. See `steps.functions.Functions`."""
        return [await self._fault(source) for source in sources]

    def run(self) -> Run:
        """Begin the calls of one run. Costs nothing before the first call; always given back to `aclose`."""
        return Run(next(self._runs), self._ask, self._drop, self._limits)

    async def close(self) -> None:
        """End all processes; what they are asked just now gets no answer. Safe to call twice."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for job in self._jobs:
            if not job.answer.done():
                job.answer.set_exception(_closed())

    async def _ask(self, job: Job) -> None:
        """Have a job answered; whoever asked before gets the answer before. When cancelled, its answer is dropped.

        Raises:
            Broken: INTERNAL: no process can be started.
            Unavailable: SERVER_DRAINING: `close` was called.
        """
        if self._is_closed:
            raise _closed()
        self._jobs.add(job)
        try:
            self._turns.put(job)
            await job.answer
        finally:
            self._jobs.discard(job)

    def _drop(self, run: int, places: set[int]) -> None:
        """Have these processes forget the functions of a run, when they next have nothing else to do."""
        for place in places:
            self._ended_runs[place].append(run)
            self._turns.wake(place)

    async def _fault(self, source: str) -> str | None:
        if why := source_fault(source, self._limits):
            return why
        key = hashlib.sha256(source.encode()).digest()
        if key in self._verdicts:
            self._verdicts.move_to_end(key)
            return self._verdicts[key]
        answer = await self._verdict(source)
        if answer is None:
            return _UNMADE
        verdict = self._verdicts[key] = wire.read_verdict(answer).fault
        if len(self._verdicts) > _VERDICTS:
            self._verdicts.popitem(last=False)
        return verdict

    async def _verdict(self, source: str) -> bytes | None:
        """What a process says of a source; None where that cost it its life, in the second as in the first."""
        answer = None
        for _ in range(2):
            job = Job(wire.Ask(next(self._runs), source))
            await self._ask(job)
            answer = job.answer.result()
            if answer is not None or job.ended_by == SIGNAL_OF_TIME:
                break
        return answer

    async def _work(self, place: int, ready: asyncio.Future[bool]) -> None:
        """Answer questions with one process after the other, until cancelled."""
        try:
            await self._start(place)
            if not ready.done():
                ready.set_result(self._workers[place] is not None)
            while True:
                await self._answer(place, await self._turns.take(place))
        finally:
            await self._end(place)

    async def _answer(self, place: int, job: Job | None) -> None:
        """See to it that a job gets its answer, and the place its process, whatever happens."""
        try:
            worker = self._workers[place]
            if worker is not None and worker.has_hung_up():  # it was ended while nobody asked, so by none of ours
                await self._replace(place, worker, _DYING_S)
            if self._workers[place] is None:
                await self._start(place)
            await self._serve(place, job)
        except Exception:  # noqa: BLE001  whatever it is, it has to cost this job alone
            _LOG.exception("a process that runs functions could not be asked")
            await self._end(place)
        finally:
            if job is not None and not job.answer.done():
                job.answer.set_exception(_closed() if self._is_closed else _none_can_be_started())
        if self._workers[place] is None:
            await self._start(place)  # at once: the next who asks need not wait for it

    async def _serve(self, place: int, job: Job | None) -> None:
        worker = self._workers[place]
        if worker is None:
            return
        if job is not None and job.answer.done():
            job = None  # nobody waits for it any more
        dropped, self._ended_runs[place] = self._ended_runs[place], []
        if job is None and not dropped:
            return
        ask = wire.Ask(0) if job is None else job.ask
        if dropped:
            ask = msgspec.structs.replace(ask, dropped=dropped)
        answer = None
        if job is not None:
            job.place = place
        try:
            async with asyncio.timeout(self._budget.wall_s):
                answer = await worker.ask(wire.encode(ask), most_bytes=self._budget.answer_bytes)
        except TimeoutError:
            await self._replace(place, worker, 0.0)
        except Ended:
            await self._replace(place, worker, _DYING_S)
        if job is not None and not job.answer.done():
            job.ended_by = worker.ended_by
            job.answer.set_result(answer)

    async def _replace(self, place: int, worker: Worker, grace_s: float) -> None:
        """End a process of which there is nothing more to be had; `_start` makes the next."""
        await self._end(place, grace_s)
        _LOG.warning("a process that runs functions was replaced (%s)", worker.how_it_ended)

    async def _start(self, place: int) -> None:
        self._ended_runs[place].clear()  # it will know nothing of them
        try:
            said = wire.encode(self._budget).decode()
            self._workers[place] = await Worker.begin("stepwired.sandbox", "functions", said, self._start_timeout_s)
        except (StartFailed, OSError) as error:
            _LOG.error("no process that runs functions can be started: %s", error)
        except Exception:  # noqa: BLE001  whatever it is, who waits for a process is told that there is none
            _LOG.exception("no process that runs functions can be started")

    async def _end(self, place: int, grace_s: float = 0.0) -> None:
        worker, self._workers[place] = self._workers[place], None
        if worker is not None:
            await worker.end(grace_s)


def _closed() -> Failure:
    return Unavailable(Reason.SERVER_DRAINING, "the server is being stopped")


def _none_can_be_started() -> Failure:
    return Broken(Reason.INTERNAL, "internal error: functions cannot be run")
