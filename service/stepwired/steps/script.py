"""Functions: the steps that are JavaScript, and any step that a combinator asks for exactly one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing

from stepwired.errors import Failure, Reason, StepFailed
from stepwired.events import Json
from stepwired.jsonvalue import kind
from stepwired.steps.batches import Many, Outputs
from stepwired.steps.core import Input, Step
from stepwired.steps.functions import FunctionRun
from stepwired.steps.meter import Meter
from stepwired.steps.results import Placed, Value


def javascript(
    source: str, path: str, run: FunctionRun, run_id: str, as_json: Callable[[Value], Json], *, unpacked: bool = False
) -> Many:
    """Call a function once for each value; what it returns is the one result.

    Args:
        source: The function.
        path: Where it stands.
        run: Calls it.
        run_id: What the run is called.
        as_json: How it sees a value.
        unpacked: The value is an object that holds the arguments, in their order.
    """

    async def many(inputs: Sequence[Input]) -> Sequence[Outputs]:
        calls: list[list[Json]] = []
        for given in inputs:
            facts: Json = {
                "index": given.path[-1] if given.path else 0,
                "attempt": given.scope.attempt,
                "runId": run_id,
                "stepPath": path,
            }
            value = as_json(given.value)
            calls.append([*value.values(), facts] if unpacked and isinstance(value, dict) else [value, facts])
        try:
            return [(answer,) for answer in await run.call(source, calls)]
        except Failure as failure:  # no process can be had; each input is told, and none of the others is lost
            return [(failure.again(),) for _ in inputs]

    return many


class Function:
    """A step that has to result in exactly one value.

    Args:
        step: The step, counted.
        meter: What counts it.
    """

    def __init__(self, step: Step, meter: Meter) -> None:
        self._step = step
        self.meter = meter

    async def __call__(self, given: Input, value: Value) -> Value | Failure:
        """Run it on `value`, in the place of `given`.

        Returns:
            What it results in; STEP_OUTPUT_INVALID if that is not one value.
        """
        found: list[Value | Failure] = []
        try:
            async with aclosing(self._step(Input(given.path, value, given.scope))) as results:
                async for result in results:
                    found.append(result.result if isinstance(result, Placed) else result)
                    if isinstance(found[-1], Failure):
                        return found[-1]
                    if len(found) > 1:
                        break
        except Failure as failure:
            return failure
        if len(found) == 1:
            return found[0]
        return self.refused(given, f"makes {'no result' if not found else 'more than one result'}, and has to make one")

    async def is_true(self, given: Input) -> bool | Failure:
        """Ask it about a value: yes, or no."""
        return self.truth(given, await self(given, given.value))

    def truth(self, given: Input, answer: Value | Failure) -> bool | Failure:
        """Read its answer as yes or no."""
        if isinstance(answer, bool | Failure):
            return answer
        return self.refused(given, f"has to result in true or false, and made {_kind(answer)}")

    def refused(self, given: Input, what: str) -> Failure:
        """The failure of a function that did not result in what is asked of it."""
        failure = StepFailed(Reason.STEP_OUTPUT_INVALID, f"the function {what}")
        self.meter.failed((*given.path, 0), failure)
        return failure


def _kind(value: Value) -> str:
    return kind(value) if value is None or isinstance(value, str | int | float | bool | list | dict) else "no JSON"
