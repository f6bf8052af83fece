"""Takes values to a step many at once, where one at a time would cost a round trip each.

A batch never waits for company: it is what is there when the step is free. Batches begin with one value and double as
long as they are answered quickly, so that few values make few calls ahead of a reader who may leave, and many cost
little each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from stepwired.errors import Failure
from stepwired.limits import KIB
from stepwired.steps.ahead import Ahead
from stepwired.steps.core import Input, Results, Stage, Step, Stream
from stepwired.steps.results import Item, Placed, Value
from stepwired.steps.values import weigh

#: What one value was made into, in order: values, and the failures that stand in their places.
Outputs = Sequence[Value | Failure]

#: A step on many values at once; the outputs of each.
Many = Callable[[Sequence[Input]], Awaitable[Sequence[Outputs]]]

_MOST = 1024
"""Values of one batch, each of at most 1 KiB; fewer if they are larger."""

_WORTH = 32
"""Values that make it worth asking for the next batch while the results of this one are taken."""

_QUICK_S, _SLOW_S = 0.02, 0.05

#: Gives what is there next, of at most this size; nothing at the end.
_Take = Callable[[int], Awaitable[Sequence[Item]]]


async def _rounds(many: Many, take: _Take) -> AsyncGenerator[Sequence[tuple[Item, Outputs]], None]:
    """Run `many` on what there is, batch by batch; a failure among it is its own output."""
    size = 1

    async def round_() -> Sequence[tuple[Item, Outputs]]:
        nonlocal size
        group = await take(size)
        inputs = [Input(item.path, item.result, item.scope) for item in group if not isinstance(item.result, Failure)]
        begun_s = time.monotonic()
        answers = iter(await many(inputs)) if inputs else iter(())
        took_s = time.monotonic() - begun_s
        if took_s < _QUICK_S:
            size = min(2 * size, _MOST)
        elif took_s > _SLOW_S:
            size = max(1, size // 2)
        return [(item, (item.result,) if isinstance(item.result, Failure) else next(answers)) for item in group]

    ahead: asyncio.Task[Sequence[tuple[Item, Outputs]]] | None = None
    try:
        while answered := await (round_() if ahead is None else ahead):
            ahead = asyncio.create_task(round_()) if len(answered) >= _WORTH else None
            yield answered
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


def _cost(value: object) -> int:
    """What a value takes of a batch: 1 for each KiB begun."""
    if isinstance(value, str | list | dict):
        return 1 + weigh(value, _MOST * KIB) // KIB
    return 1


def alone(many: Many) -> Step:
    """The step, on one value."""

    async def run(given: Input) -> Results:
        [outputs] = await many([given])
        for output in outputs:
            yield output

    return run


def stage(many: Many) -> Stage:
    """The step on each value of a stream, in order."""

    async def run(stream: Stream) -> Stream:
        room = 1
        async with aclosing(Ahead(stream, room, lambda item: _cost(item.result))) as items:

            async def take(size: int) -> Sequence[Item]:
                nonlocal room
                items.widen(size - room)
                room = size
                return await items.some(size)

            async with aclosing(_rounds(many, take)) as rounds:
                async for answered in rounds:
                    for item, outputs in answered:
                        if isinstance(item.result, Failure):
                            yield item
                            continue
                        for place, output in enumerate(outputs):
                            yield Item((*item.path, place), output, item.scope)

    return run


def over(many: Many, values: Sequence[Value], given: Input, *, is_placed: bool, fail_fast: bool) -> Results:
    """The step on each item of the list `values`, which is the value of `given`, in order.

    Args:
        many: The step.
        values: The list.
        given: Where it came from.
        is_placed: The results say which item they are of.
        fail_fast: The first failure is the last result.
    """
    next_index = 0

    async def take(size: int) -> Sequence[Item]:
        nonlocal next_index
        begin, cost = next_index, 0
        while next_index < len(values) and cost < size:
            cost += _cost(values[next_index])
            next_index += 1
        return [Item((*given.path, index), values[index], given.scope) for index in range(begin, next_index)]

    async def run() -> Results:
        async with aclosing(_rounds(many, take)) as rounds:
            async for answered in rounds:
                for item, outputs in answered:
                    for place, output in enumerate(outputs):
                        yield Placed((item.path[-1], place), output) if is_placed else output
                        if fail_fast and isinstance(output, Failure):
                            return

    return run()
