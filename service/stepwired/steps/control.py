"""Combinators that decide what runs, how long, and what is passed on: filter, choice, timeout, take, parallel, map."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from stepwired.errors import Failure, Reason, StepFailed
from stepwired.steps.ahead import Ahead
from stepwired.steps.batches import Many, Outputs
from stepwired.steps.core import Input, Results, Stage, Step, Stream
from stepwired.steps.results import Placed, Value
from stepwired.steps.script import Function


def keep(where: Function) -> Step:
    """Pass on a value that `where` says yes to."""

    async def run(given: Input) -> Results:
        answer = await where.is_true(given)
        if isinstance(answer, Failure):
            yield answer
        elif answer:
            yield given.value

    return run


def keep_many(asked: Many, where: Function) -> Many:
    """Pass on the values that `asked` says yes to, which answers for many at once.

    Args:
        asked: Makes one output of each value.
        where: The same function, to read the answers.
    """

    async def many(inputs: Sequence[Input]) -> Sequence[Outputs]:
        kept: list[Outputs] = []
        for given, (answer,) in zip(inputs, await asked(inputs), strict=True):
            truth = where.truth(given, answer)
            kept.append((truth,) if isinstance(truth, Failure) else (given.value,) if truth else ())
        return kept

    return many


def choose(cases: Sequence[tuple[Function, Step]], otherwise: Step | None) -> Step:
    """Run the step of the first case that says yes, or `otherwise`."""

    async def run(given: Input) -> Results:
        chosen = otherwise
        for when, then in cases:
            answer = await when.is_true(given)
            if isinstance(answer, Failure):
                yield answer
                return
            if answer:
                chosen = then
                break
        if chosen is not None:
            async with aclosing(chosen(given)) as results:
                async for result in results:
                    yield result

    return run


def limit_time(step: Step, limit_s: float) -> Step:
    """Give `step` so many seconds for each input; then it is cancelled, and the failure stands behind its results."""

    async def run(given: Input) -> Results:
        ends_s = time.monotonic() + limit_s
        scope = given.scope
        if scope.ends_s is None or ends_s < scope.ends_s:
            scope = msgspec.structs.replace(scope, ends_s=ends_s)
        late = StepFailed(
            Reason.STEP_TIMEOUT,
            f"the step took more than the {limit_s:g} s it has",
            metadata={"limitMs": str(round(limit_s * 1000))},
        )
        inner: AsyncGenerator[Value | Failure | Placed, None] = step(Input(given.path, given.value, scope))
        async with aclosing(Ahead(inner, 1)) as results:
            # The clock runs beside the step: a timeout around a `yield` would cancel whoever reads (PEP 789).
            timer = asyncio.get_running_loop().call_later(limit_s, results.stop, late)
            try:
                async for result in results:
                    yield result
            finally:
                timer.cancel()

    return run


def take(count: int) -> Stage:
    """Pass on the first `count` values, and end everything before it as soon as the last of them is there.

    Failures before it pass, and do not count.
    """

    async def run(stream: Stream) -> Stream:
        left = count
        async with aclosing(stream):
            while left > 0:
                item = await anext(stream, None)
                if item is None:
                    return
                if not isinstance(item.result, Failure):
                    left -= 1
                if left == 0:
                    await stream.aclose()
                yield item

    return run
