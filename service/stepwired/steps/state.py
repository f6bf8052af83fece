"""A step with a memory: a function of each value and of a state that it hands on to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepwired.errors import Failure
from stepwired.events import Json
from stepwired.jsonvalue import kind
from stepwired.steps.core import Input, Results, Step
from stepwired.steps.results import Value
from stepwired.steps.script import Function


class Memory:
    """The state of one step in one run. Values in it are never changed, only replaced."""

    def __init__(self, initial: Json) -> None:
        self.state = initial


def remembered(memories: Sequence[Memory]) -> Callable[[], None]:
    """Note the states as they are now. What this returns puts them back."""
    states = [memory.state for memory in memories]

    def put_back() -> None:
        for memory, state in zip(memories, states, strict=True):
            memory.state = state

    return put_back


def remember(function: Function, memory: Memory, as_json: Callable[[Value], Json]) -> Step:
    """Call `function` with each value and the state. It is given one value after the other: the builder sees to it.

    The state is replaced when the function has answered rightly, and stays as it was in every other case.
    """

    async def run(given: Input) -> Results:
        answer = await function(given, {"input": as_json(given.value), "state": memory.state})
        if not isinstance(answer, Failure):
            answer = _checked(answer, function, given)
        if isinstance(answer, Failure):
            yield answer
            return
        memory.state = answer.get("state", memory.state)
        outputs = answer.get("outputs", [answer["output"]] if "output" in answer else [])
        assert isinstance(outputs, list)
        for output in outputs:
            yield output

    return run


def _checked(answer: Value, function: Function, given: Input) -> dict[str, Json] | Failure:
    if not isinstance(answer, dict):
        what = kind(answer) if answer is None or isinstance(answer, str | int | float | list) else "no JSON"
        return function.refused(given, f"has to result in an object {{outputs, state}}, and made {what}")
    if "outputs" in answer and "output" in answer:
        return function.refused(given, "has to say either `outputs` or `output`, and said both")
    if not isinstance(answer.get("outputs", []), list):
        return function.refused(given, f"has to say `outputs` as a list, and said {kind(answer['outputs'])}")
    return answer
