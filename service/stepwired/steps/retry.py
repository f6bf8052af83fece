"""Runs a step again when it fails: when, how often, after which wait, and what becomes of results already made."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count

import msgspec

from stepwired.errors import Failure, InvalidRequest, Reason, Throttled
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.core import Input, Results, Step
from stepwired.steps.meter import Meter
from stepwired.steps.results import Placed, Value
from stepwired.steps.script import Function
from stepwired.steps.spec import Emitted
from stepwired.steps.state import Memory, remembered
from stepwired.steps.values import weigh


@dataclass(slots=True)
class Budget:
    """What all retry steps of one run share."""

    retries: int
    """Attempts that may still be made."""

    ends_s: float | None = None
    """When the run is over at the latest, as `time.monotonic` tells it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to try again, and how."""

    said: spec.Retry
    when: Function | None
    backoff: Function | None
    budget: Budget
    code_of: Callable[[Reason], int]
    """The `google.rpc.Code` of a failure, for functions to see."""

    as_json: Callable[[Value], Json]
    limits: Limits

    async def wait_s(self, given: Input, failure: Failure, attempt: int) -> float | Failure:
        """Say how long to wait until the next attempt.

        Args:
            given: The input.
            failure: What the attempt ended with.
            attempt: It, from 1.

        Returns:
            Seconds; or the failure that the step ends with.
        """
        if attempt >= self.said.max_attempts or self.budget.retries <= 0 or _is_final(failure):
            return failure
        self.budget.retries -= 1  # before anything is waited for, since others take from it meanwhile
        decided: float | Failure = failure
        try:
            decided = await self._decided(given, failure, attempt)
        finally:
            if isinstance(decided, Failure):
                self.budget.retries += 1
        return decided

    async def _decided(self, given: Input, failure: Failure, attempt: int) -> float | Failure:
        wanted = await self._is_wanted(given, failure, attempt)
        if isinstance(wanted, Failure):
            return wanted
        if not wanted:
            return failure
        wait_s = await self._delay_s(given, attempt)
        if isinstance(wait_s, Failure):
            return wait_s
        wait_s = max(wait_s, failure.told_to_wait_s or 0.0)
        comes_s = time.monotonic() + wait_s
        if any(ends_s is not None and comes_s >= ends_s for ends_s in (self.budget.ends_s, given.scope.ends_s)):
            failure.retry_after_s = wait_s
            return failure
        return wait_s

    async def _is_wanted(self, given: Input, failure: Failure, attempt: int) -> bool | Failure:
        if self.when is None:
            return failure.is_transient
        error = error_json(failure, self.code_of)
        return self.when.truth(given, await self.when(given, {"error": error, "attempt": attempt}))

    async def _delay_s(self, given: Input, attempt: int) -> float | Failure:
        said = self.said
        if self.backoff is None:
            delay_s = min(said.initial_delay_s * said.multiplier ** (attempt - 1), said.max_delay_s)
            return delay_s * (1 + said.jitter * random.uniform(-1, 1))
        delay_ms = await self.backoff(given, attempt - 1)
        if isinstance(delay_ms, Failure):
            return delay_ms
        if isinstance(delay_ms, int | float) and not isinstance(delay_ms, bool) and 0 <= delay_ms < math.inf:
            return min(delay_ms / 1000, self.limits.step_wait_s)
        return self.backoff.refused(given, "has to result in milliseconds, from 0")


def retry(step: Step, policy: Policy, meter: Meter, memories: Sequence[Memory]) -> Step:
    """Run `step` on each input until it does not fail, or may not be tried again. The first failure decides.

    Args:
        step: What to run.
        policy: When to try again, and what to do with results that were made before a failure.
        meter: Counts the attempts.
        memories: The states within `step`, which no other input changes meanwhile. They stay as they were before the
            input, unless the last attempt came to its end without a failure, or has given a value by which they show.
    """
    emitted = policy.said.emitted

    async def run(given: Input) -> Results:
        for attempt in count(1):
            put_back = remembered(memories)
            held = _Held(policy)
            has_given = is_last = is_whole = False
            wait_s: float | None = None
            try:
                async with aclosing(_never_raising(step, given, attempt)) as results:
                    async for made in results:
                        result, failure = made, _failure_of(made)
                        if failure is not None and not is_last and not (has_given and emitted is Emitted.FAIL):
                            decided = await policy.wait_s(given, failure, attempt)
                            if not isinstance(decided, Failure):
                                wait_s = decided
                                break
                            is_last = True
                            result = _in_place_of(made, decided)
                        if emitted is Emitted.BUFFER:
                            if not held.add(result) or is_last:
                                break
                        else:
                            has_given |= failure is None
                            yield _counted(result, attempt)
                    else:
                        is_whole = not is_last
            finally:
                if wait_s is not None or not (has_given or is_whole):
                    put_back()
            if wait_s is None:
                for result in held.results:
                    yield _counted(result, attempt)
                return
            meter.retrying(given.path, attempt + 1, wait_s)
            await asyncio.sleep(wait_s)
            if emitted is Emitted.RESTART:
                meter.restarted(given.path, attempt + 1)

    return run


async def _never_raising(step: Step, given: Input, attempt: int) -> Results:
    """Run one attempt; a failure that it raises is its last result."""
    scope = given.scope
    if attempt > 1:
        scope = msgspec.structs.replace(scope, attempt=scope.attempt + attempt - 1)
    try:
        async with aclosing(step(Input(given.path, given.value, scope))) as results:
            async for result in results:
                yield result
    except Failure as failure:
        yield failure


class _Held:
    """Results that wait for the end of their attempt."""

    def __init__(self, policy: Policy) -> None:
        self.results: list[Value | Failure | Placed] = []
        self._policy = policy
        self._left_bytes = policy.limits.retry_buffer_bytes

    def add(self, result: Value | Failure | Placed) -> bool:
        """Hold one more. A failure stands alone, since what came before it is never seen.

        Returns:
            Whether there was room; else all that is held is the failure that says so.
        """
        value = result.result if isinstance(result, Placed) else result
        if isinstance(value, Failure):
            self.results = [result]
            return True
        limit = self._policy.limits.retry_buffer_bytes
        self._left_bytes -= 16 + weigh(self._policy.as_json(value), limit)
        if self._left_bytes >= 0:
            self.results.append(result)
            return True
        facts = {"limitName": "retry_buffer_bytes", "limit": str(limit)}
        text = f"the step made more than the {limit} bytes that are held back for one input"
        self.results = [Throttled(Reason.STEP_LIMIT_EXCEEDED, text, metadata=facts)]
        return False


def error_json(failure: Failure, code_of: Callable[[Reason], int]) -> Json:
    """Show a failure as functions see it."""
    wait_s = failure.retry_after_s
    return {
        "reason": failure.reason.value,
        "message": str(failure),
        "code": code_of(failure.reason),
        "metadata": dict(failure.metadata),
        "isTransient": failure.is_transient,
        "retryDelayMs": None if wait_s is None else wait_s * 1000,
    }


def _is_final(failure: Failure) -> bool:
    """Whether it would fail again, whatever anybody says: a wrong key, input or model, a used-up quota."""
    return failure.aborts_a_run or isinstance(failure, InvalidRequest)


def _failure_of(result: Value | Failure | Placed) -> Failure | None:
    found = result.result if isinstance(result, Placed) else result
    return found if isinstance(found, Failure) else None


def _counted(result: Value | Failure | Placed, attempt: int) -> Value | Failure | Placed:
    """Say of a failure that is given after more than one attempt how many there were."""
    if attempt > 1 and (failure := _failure_of(result)) is not None:
        failure.metadata["attempts"] = str(attempt)
    return result


def _in_place_of(result: Value | Failure | Placed, failure: Failure) -> Failure | Placed:
    return Placed(result.path, failure) if isinstance(result, Placed) else failure
