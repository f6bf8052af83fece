"""The calls of one run: cut into batches, asked, and asked again where a process was lost over them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import Json
from stepwired.jsonvalue import fault, text_fault
from stepwired.limits import KIB, Limits
from stepwired.sandbox import outcomes, wire
from stepwired.sandbox.turns import Job

_BATCH_CALLS = 1000
_BATCH_BYTES = 256 * KIB

_FEW_PARTS = 10_000
"""Parts of values that are looked through in a few milliseconds; more are, in a thread."""


class Run:
    """The functions of one run; see `steps.functions.FunctionRun`.

    Args:
        number: Of the run: no other has it.
        ask: Has a job answered, by its home if that is free. When cancelled, nobody waits for the answer any more.
        drop: Has these processes forget what they keep for a run.
        limits: Those of functions, `metadata_depth` for their values.
    """

    def __init__(
        self,
        number: int,
        ask: Callable[[Job], Awaitable[None]],
        drop: Callable[[int, set[int]], None],
        limits: Limits,
    ) -> None:
        self._number = number
        self._ask = ask
        self._drop = drop
        self._limits = limits
        self._homes: dict[str, int] = {}
        self._places: set[int] = set()

    async def call(self, source: str, calls: Sequence[Sequence[Json]]) -> Sequence[Json | Failure]:
        """Call a function once for each list of arguments, in order. See `steps.functions.FunctionRun`."""
        if why := source_fault(source, self._limits):
            return [outcomes.no_function(why) for _ in calls]
        made: list[Json | Failure] = []
        most = _BATCH_CALLS
        alone_until = 0  # where a process was lost, each call is asked for alone, so that the one to blame is found
        while (at := len(made)) < len(calls):
            batch = await self._batch(calls, at, 1 if at < alone_until else most)
            if isinstance(batch, Failure):
                made.append(batch)
                continue
            found = await self._outcomes(source, batch)
            if found:
                made += found
                # To read a large answer and to write the next question are two turns of the loop.
                await asyncio.sleep(0)
                # Calls that are slow are asked for by the few: each batch is sent whole.
                most = min(_BATCH_CALLS, max(1, 2 * len(found)))
            elif len(batch) > 1:
                alone_until = at + len(batch)
            else:
                made.append(await self._last_try(source, batch))
        return made

    async def aclose(self) -> None:
        """Drop whatever is kept for this run. Safe to call twice; there are no calls after it."""
        self._drop(self._number, self._places)
        self._places = set()
        self._homes.clear()

    async def _batch(self, calls: Sequence[Sequence[Json]], at: int, most: int) -> list[bytes] | Failure:
        """The next calls as JSON: as many as are sent at once, up to one that cannot be. That is a batch alone."""
        batch: list[bytes] = []
        size = 0
        for arguments in calls[at : at + most]:
            text = self._encoded(arguments)
            if isinstance(text, Failure):
                if not batch:
                    return text
                break
            size += len(text)
            if batch and size > _BATCH_BYTES:
                break
            batch.append(text)
        those = calls[at : at + len(batch)]
        has_many = size > _FEW_PARTS and sum(map(_parts, batch)) > _FEW_PARTS
        found = await asyncio.to_thread(self._refused, those) if has_many else self._refused(those)
        if found is None:
            return batch
        where, failure = found
        return batch[:where] or failure

    def _encoded(self, arguments: Sequence[Json]) -> bytes | Failure:
        try:
            text = wire.encode(arguments)
        except (TypeError, ValueError, OverflowError, RecursionError):
            found = self._refused([arguments])
            return found[1] if found else _no_argument("it is no JSON")
        if len(text) > self._limits.function_input_bytes:
            return outcomes.limit_exceeded("input", self._limits)
        return text

    def _refused(self, calls: Sequence[Sequence[Json]]) -> tuple[int, Failure] | None:
        """The first of these calls that cannot be made, and why. Cost: up to 0.5 µs for each of their parts."""
        depth = self._limits.metadata_depth
        for at, arguments in enumerate(calls):
            for each in arguments:
                if found := fault(each, max_depth=depth):
                    return at, _no_argument(found[1], found[0])
        return None

    async def _outcomes(self, source: str, batch: Sequence[bytes]) -> list[Json | Failure]:
        """What became of the first calls of a batch; nothing if a process was lost over them."""
        job = await self._answered(source, batch)
        answer = job.answer.result()
        if answer is None:
            return self._lost(job, batch)
        if len(answer) > _FEW_PARTS and _parts(answer) > _FEW_PARTS:
            return await asyncio.to_thread(outcomes.read, answer, len(batch), self._limits)
        return outcomes.read(answer, len(batch), self._limits)

    async def _last_try(self, source: str, batch: Sequence[bytes]) -> Json | Failure:
        """A call that was alone when its process was lost: perhaps it was not to blame."""
        found = await self._outcomes(source, batch)
        return found[0] if found else outcomes.limit_exceeded("process", self._limits)

    async def _answered(self, source: str, batch: Sequence[bytes]) -> Job:
        job = Job(
            wire.Ask(self._number, source, msgspec.Raw(b"[" + b",".join(batch) + b"]")), self._homes.get(source, -1)
        )
        try:
            await self._ask(job)
        finally:
            if job.place >= 0:  # what it made there has to be dropped, whether or not somebody waited for it
                self._homes[source] = job.place
                self._places.add(job.place)
        return job

    def _lost(self, job: Job, batch: Sequence[bytes]) -> list[Json | Failure]:
        if len(batch) == 1 and job.ended_by == outcomes.SIGNAL_OF_TIME:
            return [outcomes.limit_exceeded("time", self._limits)]
        return []


def _parts(text: bytes) -> int:
    """At least as many as this JSON has, but one."""
    return text.count(b",") + text.count(b"[") + text.count(b"{") + text.count(b"\n")


def _no_argument(why: str, where: str = "") -> Failure:
    place = f" at {where}" if where else ""
    return InvalidRequest(Reason.STEP_INPUT_INVALID, f"a function cannot be called with this{place}: {why}")


def source_fault(source: str, limits: Limits) -> str | None:
    """Say what is wrong with a source that nobody has to run to see."""
    if not source.strip():
        return "it is empty"
    if why := text_fault(source):
        return f"it {why}"
    if len(source.encode()) > limits.function_source_bytes:
        return f"it has more than {limits.function_source_bytes} bytes"
    return None
