"""Which steps workers serve, and for how long one that nobody serves any more is remembered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.opened import OpenCall
from stepwired.steps.remote import Facts
from stepwired.steps.worker import Worker, WorkerStep


class Waiting:
    """A call that waits for a worker. Whoever gives it one opens the call, so that the room is taken at once."""

    __slots__ = ("facts", "given", "number", "opened", "value")

    def __init__(self, number: int, value: Json, facts: Facts) -> None:
        self.number = number
        self.value = value
        self.facts = facts
        self.opened: OpenCall | None = None
        self.given: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Service:
    """A step, its workers, and the calls that wait for one of them."""

    def __init__(self, step: WorkerStep) -> None:
        self.step = step
        self.workers: list[Worker] = []
        self.waiting: deque[Waiting] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.is_given_up = False
        """There has been no worker for so long that no call waits for one any more."""

    def free_worker(self) -> Worker | None:
        return min((each for each in self.workers if each.has_room), key=lambda each: each.load, default=None)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Services:
    """All steps that workers serve or have served.

    A step whose last worker has gone is given up after `worker_wait_s` and forgotten `worker_known_s` later; earlier,
    if more than `worker_steps_known` are without a worker: then the one that has been so for longest.

    Args:
        limits: These.
        give_up: Is told of a step for which no call is to wait any longer.
    """

    def __init__(self, limits: Limits, give_up: Callable[[Service], None]) -> None:
        self._limits = limits
        self._tell = give_up
        self._named: dict[str, dict[str, Service]] = {}
        self._left: dict[tuple[str, str], Service] = {}
        """Those without a worker, in the order in which they came to be so."""

    def get(self, key: tuple[str, str]) -> Service | None:
        """The step of this name and version."""
        return self._named.get(key[0], {}).get(key[1])

    def of(self, name: str) -> list[Service]:
        """All versions of a step."""
        return list(self._named.get(name, {}).values())

    def values(self) -> Iterator[Service]:
        """All of them."""
        return (service for versions in self._named.values() for service in versions.values())

    def served_by(self, worker: Worker) -> list[Service]:
        """The steps of a worker that gets calls."""
        return [self._named[step.name][step.version] for step in worker.registration.steps]

    def join(self, worker: Worker) -> None:
        """A worker serves its steps from now on."""
        for step in worker.registration.steps:
            service = self._named.setdefault(step.name, {}).setdefault(step.version, Service(step))
            service.stop_timer()
            self._left.pop(step.key, None)
            service.step, service.is_given_up = step, False
            service.workers.append(worker)

    def retire(self, worker: Worker) -> None:
        """A worker serves its steps no more."""
        loop = asyncio.get_running_loop()
        for service in self.served_by(worker):
            service.workers.remove(worker)
            if not service.workers:
                self._left[service.step.key] = service
                service.timer = loop.call_later(self._limits.worker_wait_s, self._give_up, service)
        while len(self._left) > self._limits.worker_steps_known:
            service = next(iter(self._left.values()))
            self._tell(service)
            self._forget(service)

    def _give_up(self, service: Service) -> None:
        service.is_given_up = True
        self._tell(service)
        loop = asyncio.get_running_loop()
        service.timer = loop.call_later(self._limits.worker_known_s, self._forget, service)

    def _forget(self, service: Service) -> None:
        service.stop_timer()
        name, version = service.step.key
        del self._left[service.step.key]
        del self._named[name][version]
        if not self._named[name]:
            del self._named[name]
