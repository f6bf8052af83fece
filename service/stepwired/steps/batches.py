"""Takes values to a step many at once, where one at a time would cost a round trip each.

A batch never waits for company: it is what is there when the step is free. Batches begin with one value and double as
long as they are answered quickly, so that few values make few calls ahead of a reader who may leave, and many cost
little each.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
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

_QUICK_S, _SLOW_S = 0.01, 0.03


class _Rhythm:
    """How much one batch takes."""

    def __init__(self, many: Many) -> None:
        self.size = 1
        self._many = many

    async def answers(self, inputs: Sequence[Input]) -> Sequence[Outputs]:
        begun_s = time.monotonic()
        answers = await self._many(inputs)
        took_s = time.monotonic() - begun_s
        if took_s < _QUICK_S:
            self.size = min(2 * self.size, _MOST)
        elif took_s > _SLOW_S:
            self.size = max(1, self.size // 2)
        return answers


def _cost(value: object) -> int:
    """What a value takes of a batch: 1 for each KiB begun."""
    if isinstance(value, str | list | dict | Item):
        value = value.result if isinstance(value, Item) else value
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
        rhythm = _Rhythm(many)
        async with aclosing(Ahead(stream, rhythm.size, _cost)) as items:
            while group := await items.some(rhythm.size):
                before = rhythm.size
                inputs = [
                    Input(item.path, item.result, item.scope) for item in group if not isinstance(item.result, Failure)
                ]
                answers = iter(await rhythm.answers(inputs) if inputs else ())
                for item in group:
                    if isinstance(item.result, Failure):
                        yield item
                        continue
                    for place, output in enumerate(next(answers)):
                        yield Item((*item.path, place), output, item.scope)
                items.widen(rhythm.size - before)

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

    async def run() -> Results:
        rhythm = _Rhythm(many)
        begin = 0
        while begin < len(values):
            end, cost = begin, 0
            while end < len(values) and cost < rhythm.size:
                cost += _cost(values[end])
                end += 1
            inputs = [Input((*given.path, index), values[index], given.scope) for index in range(begin, end)]
            for index, outputs in enumerate(await rhythm.answers(inputs), begin):
                for place, output in enumerate(outputs):
                    yield Placed((index, place), output) if is_placed else output
                    if fail_fast and isinstance(output, Failure):
                        return
            begin = end

    return run()
