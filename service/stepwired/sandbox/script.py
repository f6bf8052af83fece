"""One function in JavaScript, in a world of its own: made, called, and given up. The only module that knows QuickJS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from quickjs import Context, JSException

from stepwired.sandbox import wire

_DRIVER = Path(__file__).with_name("driver.js").read_text(encoding="utf-8")
_OUT_OF_MEMORY = ("null", "InternalError: out of memory")  # null is thrown where there is none for an error either
_PLACE = re.compile(r"\(?<input>:(\d+)")
_TEXT_LENGTH = 300


class NoFunction(Exception):
    """The source is no function. `str()` of it is one line that says why, and where."""


class World:
    """What one function lives in: globals that nobody else sees, and limits. Costs about 0.3 ms and 100 KiB."""

    def __init__(self, budget: wire.Budget) -> None:
        self._context = Context()
        self._context.set_memory_limit(budget.memory_bytes)
        self._context.set_max_stack_size(budget.stack_bytes)
        driver = self._context.eval(_DRIVER)
        self.drive: Any = driver(budget.output_bytes, wire.FLUSH_LENGTH, round(wire.SLICE_S * 1000))
        self._context.set_time_limit(budget.call_s)  # of each entry from here on

    def function(self, source: str) -> Any:
        """Make the function, in a list of its own. What is around it is run, within the limits.

        Raises:
            NoFunction: It is none.
        """
        made: Any = None
        try:
            made = self._context.eval(f"[{source}\n]")
            why = self.drive("wrong", made)
        except JSException as error:
            raise NoFunction(_line(error, source.count("\n") + 1)) from None
        except (TypeError, ValueError):  # something came out of `1] + [1` that Python does not know
            why = "it is not one function"
        if why:
            raise NoFunction(why)
        return made

    def check(self, source: str) -> None:
        """Say no to what is no function, or more than one expression.

        Raises:
            NoFunction: It is none.
        """
        try:  # nothing of this is run; `1] + [2` is an expression in one kind of brackets only
            self._context.eval(f"() => ({source}\n)")
        except JSException as error:
            raise NoFunction(_line(error, source.count("\n") + 1)) from None
        self.function(source)


class Script:
    """One function, ready to be called."""

    def __init__(self, world: World, source: str) -> None:
        self._drive = world.drive
        self._function = world.function(source)

    def call(self, calls: str) -> tuple[bytes, bool]:
        """Call it once for each list of arguments.

        Returns:
            The answer, and whether the function can still be called.
        """
        try:
            answer: str = self._drive("run", self._function, calls)
            return answer.encode(), '"kind":"memory"' not in answer[: answer.index("\n")]
        except JSException as error:
            trouble = trouble_of(error)
        except (MemoryError, ValueError):
            trouble = "memory"
        try:
            done: str = self._drive("report")
        except (JSException, MemoryError, ValueError):
            done = '{"done":0'
        if not done.startswith('{"done":0'):
            return done.encode(), False  # the one that went wrong is asked for again, and then has all of its time
        return wire.encode(wire.Answer(0, trouble=trouble)) + b"\n", False


def trouble_of(error: JSException) -> wire.Kind:
    """What went wrong that no JavaScript could catch."""
    text = str(error).partition("\n")[0]
    if text == "InternalError: interrupted":
        return "time"
    if text in _OUT_OF_MEMORY:
        return "memory"
    return "stack" if "call stack" in text else "thrown"


def _line(error: JSException, lines: int) -> str:
    """One line for people of what the engine says in several."""
    text = str(error)
    trouble = trouble_of(error)
    if trouble == "time":
        return "it takes too long to be made"
    if trouble == "memory":
        return "it takes too much memory to be made"
    place = _PLACE.search(text)
    where = f"line {min(int(place[1]), lines)}: " if place else ""  # the bracket after the last is ours
    return f"{where}{text.partition(chr(10))[0][:_TEXT_LENGTH]}"
