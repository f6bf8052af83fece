"""Hears of what happens at some steps of a run, and tells functions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from google.protobuf.message import Message

from stepwire import errors, results
from stepwire._functions import Functions
from stepwire._serving import Threads
from stepwire.v1 import step_run_pb2

Callback: TypeAlias = Callable[..., object]

_MARK = re.compile("\0(\\d+)\0")
"""Stands before the name of a step that is watched, until its place is known. No name may hold it."""

_ITEM = "inputsNotStarted"
"""What the server says of the failure of an item that has ended the run, and of no other."""


@dataclass(slots=True)
class Watcher:
    """What wants to hear of one step."""

    on_start: Callback | None
    on_result: Callback | None
    on_complete: Callback | None
    on_error: Callback | None
    path: str = ""
    """The step: its position in the spec. Known when the whole spec is."""

    is_complete: bool = False


def mark(step: step_run_pb2.Step, functions: Functions, watcher: Watcher) -> None:
    """Watch a step that will stand somewhere in the run of `functions`."""
    step.name = f"\0{len(functions.watchers)}\0{step.name}"
    functions.watchers.append(watcher)


def places(steps: Iterable[step_run_pb2.Step], path: str = "steps") -> Generator[tuple[str, step_run_pb2.Step]]:
    """Yield each step with its position in the spec, a step before those within it."""
    for index, step in enumerate(steps):
        yield from _within(step, f"{path}[{index}]")


def _within(step: step_run_pb2.Step, path: str) -> Generator[tuple[str, step_run_pb2.Step]]:
    yield path, step
    kind = step.WhichOneof("kind")
    inner = kind and getattr(step, kind)
    if not isinstance(inner, Message):
        return
    for field, value in inner.ListFields():
        here = f"{path}.{kind}.{field.name}"
        if isinstance(value, step_run_pb2.Step):
            yield from _within(value, here)
        elif field.message_type is step_run_pb2.Step.DESCRIPTOR:
            yield from places(value, here)
        elif field.message_type is step_run_pb2.ChoiceCase.DESCRIPTOR:
            for index, case in enumerate(value):
                for name in ("when", "then"):
                    if case.HasField(name):
                        yield from _within(getattr(case, name), f"{here}[{index}].{name}")


def locate(steps: Iterable[step_run_pb2.Step], functions: Functions) -> None:
    """Tell all watchers where their steps stand."""
    for path, step in places(steps):
        while found := _MARK.match(step.name):
            functions.watchers[int(found[1])].path = path
            step.name = step.name[found.end() :]


def _is_within(path: str, outer: str) -> bool:
    return path.startswith(f"{outer}.")


def _forgives(retrying: results.StageEvent, error: results.StageEvent) -> bool:
    place = retrying.path
    return _is_within(error.step_path, retrying.step_path) and error.path[: len(place)] == place


def _is_same(one: errors.Error | None, other: errors.Error | None) -> bool:
    """Whether two are told of one failure; that of the whole call has facts of the call beside."""
    return one is not None and other is not None and (one.message, one.reason) == (other.message, other.reason)


def _is_akin(deep: Sequence[int], path: Sequence[int]) -> bool:
    """Whether they are of one item; within a step, paths have more numbers."""
    return all(one == other for one, other in zip(deep, path, strict=False))


class Watching:
    """Tells the watchers of one run what happens, one function at a time.

    Functions that are no coroutines are called in a thread.
    """

    def __init__(self, watchers: list[Watcher], steps: Iterable[step_run_pb2.Step]) -> None:
        self._watchers = watchers
        self._retries = [path for path, step in places(steps) if step.HasField("retry")] if watchers else []
        self._held: list[tuple[Watcher, results.StageEvent]] = []
        """Errors within a retry step, which may yet be tried again and come to nothing."""

        self._is_telling = False
        """Also after a callback has raised."""

        self._threads = Threads()

    async def hear(self, event: results.RunEvent) -> None:
        """Tell whom it concerns; what they raise is raised here."""
        self._is_telling = True
        await self._hear(event)
        self._is_telling = False

    async def _hear(self, event: results.RunEvent) -> None:
        if isinstance(event, results.StageEvent):
            if event.kind == "retrying":
                self._held = [(watcher, held) for watcher, held in self._held if not _forgives(event, held)]
            for watcher in self._watchers:
                if watcher.path == event.step_path or _is_within(event.step_path, watcher.path):
                    await self._tell(watcher, event)
        elif isinstance(event, results.StepResult) and event.error is not None:  # nobody tries this one again
            await self._release(lambda held: _is_same(held.error, event.error) and _is_akin(held.path, event.path))
        elif isinstance(event, results.RunFinished):
            for watcher in self._watchers:  # a slow reader may have lost it
                await self._complete(watcher)

    async def fail(self, error: errors.Error) -> None:
        """Tell of the error that the run has ended with: no try will make it good. If it is an item's, tell the end.

        Of what a callback has raised, nothing is told.
        """
        if self._is_telling:
            return
        await self._release(lambda held: _is_same(held.error, error))
        self._held = []  # of others, which were to be tried again
        for watcher in self._watchers if _ITEM in error.metadata else ():
            await self._complete(watcher)

    def close(self) -> None:
        self._threads.close()

    async def _tell(self, watcher: Watcher, event: results.StageEvent) -> None:
        match event.kind:
            case "error":  # told where it happened, be it deep within
                if any(
                    _is_within(event.step_path, path)
                    for path in self._retries
                    if path == watcher.path or _is_within(path, watcher.path)
                ):
                    self._held.append((watcher, event))
                else:
                    await self._call(watcher.on_error, event.error)
            case _ if event.step_path != watcher.path:
                pass
            case "started":
                await self._call(watcher.on_start, event.value)
            case "result":
                await self._call(watcher.on_result, event.value)
            case "completed":
                await self._complete(watcher)

    async def _release(self, is_meant: Callable[[results.StageEvent], bool], of: Watcher | None = None) -> None:
        """Tell of errors that were held: those that are meant, and all that one watcher waits for."""
        released = [each for each in self._held if each[0] is of or is_meant(each[1])]
        self._held = [each for each in self._held if each not in released]
        for watcher, event in released:
            await self._call(watcher.on_error, event.error)

    async def _complete(self, watcher: Watcher) -> None:
        await self._release(lambda _: False, watcher)
        if not watcher.is_complete:
            watcher.is_complete = True
            await self._call(watcher.on_complete)

    async def _call(self, callback: Callback | None, *arguments: Any) -> None:
        if callback is None:
            return
        if inspect.iscoroutinefunction(callback):
            await callback(*arguments)
            return
        async with self._threads.lend() as thread:
            made = await thread.do(partial(callback, *arguments))
        if inspect.isawaitable(made):
            await made
