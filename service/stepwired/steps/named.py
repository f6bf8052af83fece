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
is `async def`; any other runs in a worker thread, so that it cannot hold up the server, unless it says `quick=True`:
then it runs in the event loop and has to return within a fraction of a millisecond. A thread cannot be stopped: when
the run is cancelled, such a function runs on, and what it gives is dropped.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from stepwired.errors import Failure, InvalidRequest, Reason, StepFailed
from stepwired.events import Json
from stepwired.jsonvalue import fault
from stepwired.steps.core import Results, Step
from stepwired.steps.results import Value

_log = logging.getLogger(__name__)

GROUP = "stepwire.steps"
"""The group of entry points in which packages register their steps."""


@dataclass(frozen=True, slots=True)
class NamedStep:
    """A function that pipelines can name."""

    name: str
    run: Callable[[Json], AsyncGenerator[Json, None]]
    version: str = "1"
    description: str = ""
    provider: str = ""
    """The distribution that registered it; `builtin` for our own."""


class BrokenStepError(Exception):
    """A registered step does not load. Its message is one line for the operator."""


def step(name: str, *, version: str = "1", quick: bool = False) -> Callable[[Callable[[Any], Any]], NamedStep]:
    """Make a named step of a function of one JSON value; see the module for how it is run.

    Args:
        name: What pipelines call it.
        version: Numbers with dots between them; `name@version` pins one, `name` means the highest.
        quick: It returns within a fraction of a millisecond.
    """

    def decorate(function: Callable[[Any], Any]) -> NamedStep:
        description = inspect.getdoc(function) or ""
        return NamedStep(name, partial(_values, function, quick), version, description.partition("\n")[0])

    return decorate


async def _values(function: Callable[[Json], Any], quick: bool, value: Json) -> AsyncGenerator[Json, None]:
    """Run a function of any colour and give what it makes."""
    if inspect.isasyncgenfunction(function):
        async with aclosing(cast(AsyncGenerator[Json, None], function(value))) as made:
            async for each in made:
                yield each
    elif inspect.iscoroutinefunction(function):
        yield await function(value)
    elif inspect.isgeneratorfunction(function):
        async for each in _in_turn(function(value), quick):
            yield each
    elif quick:
        yield function(value)
    else:
        yield await asyncio.to_thread(function, value)


async def _in_turn(values: Iterator[Json], quick: bool) -> AsyncIterator[Json]:
    end = object()
    while (each := next(values, end) if quick else await asyncio.to_thread(next, values, end)) is not end:
        yield cast(Json, each)


def as_step(named: NamedStep, as_json: Callable[[Value], Json], max_depth: int) -> Step:
    """The step that runs a named one: JSON in, JSON out, its errors as failures."""

    async def run(value: Value) -> Results:
        try:
            async with aclosing(named.run(as_json(value))) as made:
                async for each in made:
                    _check(named, each, max_depth)
                    yield each
        except Failure:
            raise
        except Exception as error:
            raise _failed(named, error) from error

    return run


def _check(named: NamedStep, value: Json, max_depth: int) -> None:
    if found := fault(value, max_depth=max_depth):
        where = f" at {found[0]}" if found[0] else ""
        raise StepFailed(Reason.STEP_OUTPUT_INVALID, f"step {named.name} made what JSON cannot say{where}: {found[1]}")


def _failed(named: NamedStep, error: Exception) -> Failure:
    # The text of a foreign exception may hold anything, secrets too: it goes to the log, and its class to the caller.
    _log.warning("step %s failed", named.name, exc_info=error)
    kind = type(error).__name__
    return StepFailed(
        Reason.STEP_EXECUTION_FAILED,
        f"step {named.name} failed with {kind}",
        metadata={"errorType": kind, "isTransient": "false"},
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
    return {name: dict(sorted(versions.items(), key=_newest_first)) for name, versions in sorted(steps.items())}


def _newest_first(version: tuple[str, NamedStep]) -> list[int]:
    return [-int(number) if number.isdecimal() else 0 for number in version[0].split(".")]
