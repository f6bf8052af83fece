"""Which workers serve which steps, which of them gets a call, and who waits for one to have room.

A call goes to the worker with the least to do. Where none has room, calls wait, first come, first served; where the
last one has gone, they wait a little for it to come back. A call whose worker is lost goes to another if nothing has
come of it: so a step of a worker runs at least once, and its results are given once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

from stepwired import versions
from stepwired.errors import Conflict, Failure, InvalidRequest, Reason, Subject, Throttled, Unavailable, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.line import Line
from stepwired.steps.named import NamedStep
from stepwired.steps.opened import OpenCall
from stepwired.steps.remote import Facts
from stepwired.steps.services import Service, Services, Waiting
from stepwired.steps.sources import StepInfo
from stepwired.steps.worker import Registration, Worker, WorkerStep

_log = logging.getLogger(__name__)


class Workers:
    """All workers of this server; a `Source` of the steps they serve.

    Args:
        limits: How many calls wait, and how long.
        is_taken: Whether a name is that of a step of another source, which no worker may serve. It answers at
            once: nobody can take a name between its answer and the worker's coming.
        is_tool: Whether the operator lets chat models have the step of this name.
    """

    def __init__(
        self,
        limits: Limits,
        is_taken: Callable[[str], bool],
        is_tool: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._limits = limits
        self._is_taken = is_taken
        self._is_tool = is_tool
        self._services = Services(limits, self._refuse_waiting)
        self._waiting_count = 0
        self._numbers = count(1)

    async def join(self, registration: Registration, wake: Callable[[], None]) -> Worker:
        """Let a worker serve its steps from now on.

        Args:
            registration: What it serves.
            wake: Is told when its line has something to send.

        Raises:
            Conflict: STEP_EXISTS, a name is that of a step that is no worker's.
            InvalidRequest: FIELD_INVALID, another worker serves the same step with other schemas.
        """
        for name in dict.fromkeys(step.name for step in registration.steps):
            if self._is_taken(name):
                text = f"`{name}` is a step of the server itself: workers may not serve it"
                raise Conflict(Reason.STEP_EXISTS, text, subject=Subject("step", name))
        if different := tuple(self._differences(registration.steps)):
            raise InvalidRequest.of(different)
        line = Line(self._limits, wake, lambda: self._give_work(worker), lambda: self._is_waited_for(worker))
        worker = Worker(registration, line)
        self._services.join(worker)
        _log.info("worker joined id=%s name=%s steps=%d", worker.id, registration.name, len(registration.steps))
        self._give_work(worker)
        return worker

    def retire(self, worker: Worker) -> None:
        """Give a worker no further calls. Those that it has are still its own."""
        if worker.is_leaving:
            return
        worker.is_leaving = True
        self._services.retire(worker)

    def leave(self, worker: Worker) -> None:
        """Take note that a worker is gone, and what it was called for with it. Safe to call twice."""
        if worker.has_left:
            return
        worker.has_left = True
        self.retire(worker)
        lost = worker.line.open_count
        worker.line.lose(Unavailable(Reason.WORKER_LOST, "the worker was lost before its answer was whole"))
        _log.info("worker left id=%s name=%s open_calls=%d", worker.id, worker.registration.name, lost)

    async def find(self, name: str, version: str) -> NamedStep | None:
        """Look up a step; the highest version if none is named, of those that are served just now if any is."""
        known = [service for service in self._services.of(name) if version in {"", service.step.version}]
        if not known:
            return None
        step = max(known, key=lambda service: (bool(service.workers), versions.rank(service.step.version))).step
        return NamedStep(
            name=step.name,
            function=partial(self._call, step.key),
            version=step.version,
            description=step.description,
            provider="worker",
            takes_facts=True,
            input_schema=step.input_schema,
            output_schema=step.output_schema,
        )

    async def infos(self) -> Sequence[StepInfo]:
        """The steps that are served just now, the highest version of each first."""
        served = [service for service in self._services.values() if service.workers]
        return [
            StepInfo(
                name=step.name,
                version=step.version,
                description=step.description,
                provider="worker",
                input_schema=step.input_schema,
                output_schema=step.output_schema,
                is_tool=step.input_schema is not None and self._is_tool(step.name),
                worker_count=len(service.workers),
            )
            for service in sorted(served, key=lambda each: versions.rank(each.step.version), reverse=True)
            for step in [service.step]
        ]

    async def _call(self, key: tuple[str, str], value: Json, facts: Facts) -> AsyncGenerator[Json, None]:
        """Have a worker run a step, and another if that one is lost with nothing come of it."""
        until_s = None if facts.time_left_s is None else time.monotonic() + facts.time_left_s
        number, lost_count = next(self._numbers), 0
        while True:
            time_left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            now = replace(facts, attempt=facts.attempt + lost_count, time_left_s=time_left_s)
            waiting = Waiting(number, value, now)
            try:
                opened = await self._opened(key, waiting, is_new=not lost_count)
                async for output in opened:
                    yield output
                return
            except Unavailable as failure:
                if failure.reason is not Reason.WORKER_LOST:
                    raise
                lost_count += 1
                has_answered = waiting.opened is not None and waiting.opened.was_answered
                if has_answered or lost_count == self._limits.worker_attempts:
                    raise
            finally:
                self._dismiss(key, waiting)

    async def _opened(self, key: tuple[str, str], waiting: Waiting, *, is_new: bool) -> OpenCall:
        """Get a worker for a call, and wait for one if there is none."""
        service = self._services.get(key)
        if service is None or service.is_given_up:
            raise _no_worker(key)
        worker = None if service.waiting and is_new else service.free_worker()
        if worker is not None:
            self._open(worker, key, waiting)
        else:
            if is_new and self._waiting_count >= self._limits.worker_calls_waiting:
                raise _crowded(key, self._limits.worker_calls_waiting)
            self._waiting_count += 1
            # One that lost its worker has waited longer than those that wait for their first.
            service.waiting.append(waiting) if is_new else service.waiting.appendleft(waiting)
            for each in service.workers:  # the end of a call may stand behind what they have sent already
                each.line.look()
            await waiting.given
        assert waiting.opened is not None
        return waiting.opened

    def _open(self, worker: Worker, key: tuple[str, str], waiting: Waiting) -> None:
        worker.last_used = next(self._numbers)
        waiting.opened = worker.line.open(key[0], waiting.value, waiting.facts)

    def _give_work(self, worker: Worker) -> None:
        """Hand to a worker that has room what waits longest."""
        while self._waiting_count and worker.has_room and not worker.is_leaving:
            crowded = [service for service in self._services.served_by(worker) if service.waiting]
            if not crowded:
                return
            service = min(crowded, key=lambda each: each.waiting[0].number)
            waiting = self._next_of(service)
            if not waiting.given.done():  # else its run has been cancelled just now
                self._open(worker, service.step.key, waiting)
                waiting.given.set_result(None)

    def _is_waited_for(self, worker: Worker) -> bool:
        """Whether a call waits for one of the worker's to end."""
        if not self._waiting_count or worker.is_leaving:
            return False
        return any(service.waiting for service in self._services.served_by(worker))

    def _next_of(self, service: Service) -> Waiting:
        self._waiting_count -= 1
        return service.waiting.popleft()

    def _dismiss(self, key: tuple[str, str], waiting: Waiting) -> None:
        """Take a call back, wherever it is."""
        service = self._services.get(key)
        if waiting.opened is not None:
            waiting.opened.close()
        elif service is not None and waiting in service.waiting:
            service.waiting.remove(waiting)
            self._waiting_count -= 1

    def _refuse_waiting(self, service: Service) -> None:
        """Let nobody wait any longer for a worker of this step."""
        while service.waiting:
            waiting = self._next_of(service)
            if not waiting.given.done():
                waiting.given.set_exception(_no_worker(service.step.key))

    def _differences(self, steps: Sequence[WorkerStep]) -> Iterator[Violation]:
        for index, step in enumerate(steps):
            service = self._services.get(step.key)
            if service is None or not service.workers:
                continue
            for what in ("input_schema", "output_schema"):
                if getattr(service.step, what) != getattr(step, what):
                    text = f"another worker serves {step.name}@{step.version} with another schema: raise the version"
                    yield Violation(f"register.steps[{index}].{what}", text)


def _crowded(key: tuple[str, str], limit: int) -> Failure:
    text = f"{limit} calls wait for workers already; try again"
    facts = {"limit": str(limit)}
    return Throttled(Reason.CONCURRENCY_LIMITED, text, metadata=facts, subject=Subject("step", key[0]))


def _no_worker(key: tuple[str, str]) -> Failure:
    return Unavailable(Reason.NO_WORKER, f"no worker serves {key[0]}@{key[1]} just now; try again")
