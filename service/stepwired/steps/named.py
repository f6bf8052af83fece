"""Steps written in Python and found by name.

    from stepwired.steps.named import step

    @step("shout")
    def shout(value: Json) -> Json:
        '''The text, louder.'''
        return value.upper() + "!"

and in the package's `pyproject.toml`, so that the server finds it:

    [project.entry-points."stepwire.steps"]
    shout = "my_package:shout"

A function gives one value, a generator one for each `yield`. What a function sees and gives is JSON. One that waits
is `async def`; any other runs in a thread, at most `Limits.step_threads` at once, so that it cannot hold up the server,
unless it says `quick=True`: then it runs in the event loop and has to return within a fraction of a millisecond. A
thread cannot be stopped: when the run is cancelled, such a function runs on, and what it gives is dropped. A generator
that is left before its end is closed in a thread, too; only a run that was cancelled does not wait for that.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from traceback import extract_tb
from types import GeneratorType
from typing import Any, cast

from stepwired.errors import Failure, InvalidRequest, Reason, StepFailed
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.core import Input, Results, Step
from stepwired.steps.remote import Facts
from stepwired.steps.results import Value
from stepwired.steps.schema import converter
from stepwired.steps.threads import END, Drawn, Threads, contained
from stepwired.steps.values import check
from stepwired.versions import rank

_log = logging.getLogger(__name__)

GROUP = "stepwire.steps"
"""The group of entry points in which packages register their steps."""


@dataclass(frozen=True, slots=True)
class NamedStep:
    """A function that pipelines can name."""

    name: str
    function: Callable[..., Any]
    """Of one JSON value; of any colour."""

    version: str = "1"
    quick: bool = False
    """It returns within a fraction of a millisecond, and so needs no thread."""

    description: str = ""
    provider: str = ""
    """The distribution that registered it; `builtin` for our own; `worker`."""

    takes_facts: bool = False
    """It is called with the value, and then with `remote.Facts`."""

    input_schema: Mapping[str, Json] | None = None
    """JSON Schema of its value, which is checked before it is called; None for any value."""

    output_schema: Mapping[str, Json] | None = None
    """JSON Schema of each result, which is checked."""


class BrokenStepError(Exception):
    """A registered step does not load. Its message is one line for the operator."""


def step(
    name: str,
    *,
    version: str = "1",
    quick: bool = False,
    input: Mapping[str, Json] | None = None,  # noqa: A002  as it reads where it is used
    output: Mapping[str, Json] | None = None,
) -> Callable[[Callable[..., Any]], NamedStep]:
    """Make a named step of a function of one JSON value; see the module for how it is run.

    A function with a second parameter called `facts` is given `remote.Facts` there.

    Args:
        name: What pipelines call it.
        version: Numbers with dots between them; `name@version` pins one, `name` means the highest.
        quick: It returns within a fraction of a millisecond.
        input: JSON Schema of the value. Text of a number is taken for one where it is wanted, and so on; what does not
            fit is STEP_INPUT_INVALID, and the function is not called. With one, chat models can use it as a tool.
        output: JSON Schema of each result; what does not fit is STEP_OUTPUT_INVALID.

    Raises:
        SchemaInvalid: One of them is no JSON Schema.
    """
    for schema in (input, output):
        converter(schema, is_input=True)

    def decorate(function: Callable[..., Any]) -> NamedStep:
        description = (inspect.getdoc(function) or "").partition("\n")[0]
        takes_facts = "facts" in inspect.signature(function).parameters
        return NamedStep(name, function, version, quick, description, "", takes_facts, input, output)

    return decorate


def as_step(
    named: NamedStep,
    as_json: Callable[[Value], Json],
    threads: Threads,
    limits: Limits,
    facts: Callable[[Input], Facts],
) -> Step:
    """The step that runs a named one: JSON in, JSON out, its errors as failures."""
    what = f"step {named.name}"
    fit_input = converter(named.input_schema, is_input=True)
    fit_output = converter(named.output_schema, is_input=False)

    async def run(given: Input) -> Results:
        value = as_json(given.value)
        if fit_input is not None:
            value = fit_input(value)
        arguments = (value, facts(given)) if named.takes_facts else (value,)
        try:
            async with aclosing(_values(named, arguments, threads)) as made:
                async for each in made:
                    check(each, limits, what)
                    yield each if fit_output is None else fit_output(each)
        except Failure:
            raise
        except Exception as error:
            raise _failed(what, error) from error

    return run


async def _values(named: NamedStep, arguments: tuple[Any, ...], threads: Threads) -> AsyncGenerator[Json, None]:
    """Run a function of any colour and give what it makes."""
    function = named.function
    if inspect.isasyncgenfunction(function):
        async with aclosing(cast(AsyncGenerator[Json, None], function(*arguments))) as made:
            with suppress(StopAsyncIteration):
                while True:
                    yield await _awaited(anext(made))
    elif inspect.iscoroutinefunction(function):
        yield await _awaited(function(*arguments))
    elif inspect.isgeneratorfunction(function):
        in_turn = _at_once(function(*arguments)) if named.quick else _in_turn(function(*arguments), threads)
        async with aclosing(in_turn) as made:
            async for each in made:
                yield each
    elif named.quick:
        with contained:
            made_at_once = function(*arguments)
        yield made_at_once
    else:
        yield await threads.call(function, *arguments)


async def _awaited(making: Awaitable[Json]) -> Any:
    """What a function that waits makes. What is meant for the whole program, or for its own task, stays within it."""
    try:
        return await making
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the function raised {type(error).__name__}").with_traceback(error.__traceback__) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("the function cancelled itself").with_traceback(error.__traceback__) from error


async def _at_once(values: GeneratorType[Json, None, None]) -> AsyncGenerator[Json, None]:
    """Give what a quick generator yields."""
    try:
        while True:
            with contained:
                each = next(values, END)
            if each is END:
                return
            yield cast(Json, each)
    finally:
        with contained:
            values.close()


async def _in_turn(values: GeneratorType[Json, None, None], threads: Threads) -> AsyncGenerator[Json, None]:
    """Give what a generator yields, each made in a thread."""
    async with aclosing(Drawn(values, threads)) as drawn:
        while (each := await drawn.next()) is not END:
            yield each


def _failed(what: str, error: Exception) -> Failure:
    # The text of a foreign exception may hold anything, secrets and prompts too: the log gets the places in the code,
    # the caller the class alone.
    kind = type(error).__name__
    frames = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(extract_tb(error.__traceback__)[-5:]))
    _log.warning("%s failed with %s at %s", what, kind, frames)
    return StepFailed(
        Reason.STEP_EXECUTION_FAILED, f"{what} failed with {kind}", metadata={"errorType": kind, "isTransient": "false"}
    )


def takes(value: Json, kind: type, what: str) -> Any:
    """The value, if it is of this kind: for steps that take one kind only.

    Raises:
        InvalidRequest: It is not.
    """
    if not isinstance(value, kind):
        raise InvalidRequest(Reason.STEP_INPUT_INVALID, f"the step takes {what}")
    return value


def discover(found: Iterable[EntryPoint] | None = None) -> Mapping[str, Mapping[str, NamedStep]]:
    """Load every step that an installed package registers.

    Returns:
        Steps by name, then by version, the highest version first.

    Raises:
        BrokenStepError: One does not load, is no step, or shares name and version with another.
    """
    steps: dict[str, dict[str, NamedStep]] = {}
    for entry in entry_points(group=GROUP) if found is None else found:
        distribution = entry.dist.name if entry.dist is not None else "unknown"
        try:
            loaded = entry.load()
        except Exception as error:
            raise BrokenStepError(f"step {entry.name} of {distribution} does not load: {error}") from error
        if not isinstance(loaded, NamedStep):
            raise BrokenStepError(f"step {entry.name} of {distribution} is no step: decorate {entry.value} with @step")
        provider = "builtin" if distribution == "stepwired" else distribution
        versions = steps.setdefault(loaded.name, {})
        if loaded.version in versions:
            raise BrokenStepError(
                f"{loaded.name}@{loaded.version} is registered by {versions[loaded.version].provider} and {provider}"
            )
        versions[loaded.version] = replace(loaded, provider=provider)
    return {
        name: dict(sorted(versions.items(), key=lambda item: rank(item[0]), reverse=True))
        for name, versions in sorted(steps.items())
    }
