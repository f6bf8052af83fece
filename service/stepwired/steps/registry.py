"""Knows every step there is: finds the named ones, finds the faults of a spec, and starts runs."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass

from stepwired.errors import InvalidRequest, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps.build import Builder
from stepwired.steps.functions import Functions
from stepwired.steps.leaves import Models
from stepwired.steps.named import NamedStep
from stepwired.steps.remote import Served
from stepwired.steps.results import ErrorMode, RunEvent
from stepwired.steps.retry import Budget
from stepwired.steps.run import run
from stepwired.steps.sources import Found, SavedPipeline, Source, StepInfo
from stepwired.steps.spec import Spec
from stepwired.steps.threads import Threads
from stepwired.steps.validation import Known, Validation, hints, names, sources

_NO_JAVASCRIPT = "this server runs no JavaScript: its operator has turned that off"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was found out about a spec, at one moment."""

    found: Mapping[str, Found]
    faults: tuple[Violation, ...]


class Registry:
    """Every step that this server can run.

    Args:
        models: What the leaves ask.
        named: Steps by name, then by version, the highest version first; as `named.discover` gives them.
        limits: What one run may use.
        functions: Runs the JavaScript of callers; None if it is not to be run.
        others: Further named steps. What is in `named` goes first, then these in their order.
        is_tool: Whether the operator lets chat models have the step of this name.
    """

    def __init__(
        self,
        models: Models,
        named: Mapping[str, Mapping[str, NamedStep]],
        limits: Limits,
        *,
        functions: Functions | None = None,
        others: Sequence[Source] = (),
        is_tool: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._models = models
        self._sources: Sequence[Source] = (_Python(named, is_tool), *others)
        self._limits = limits
        self._functions = functions
        self._threads = Threads(limits.step_threads)

    async def infos(self) -> Sequence[StepInfo]:
        """The named steps, by name, each version of its own, the highest first."""
        infos = [info for source in self._sources for info in await source.infos()]
        return sorted(infos, key=lambda info: info.name)

    async def find(self, name: str) -> Found | None:
        """Look up what `name` or `name@version` means now."""
        name, _, version = name.partition("@")
        for source in self._sources:
            if (found := await source.find(name, version)) is not None:
                return found
        return None

    async def validate(
        self, steps: Sequence[Spec], *, has_client: bool = True, has_events: bool = True
    ) -> tuple[Violation, ...]:
        """Find every fault that keeps `steps` from running, in their order. Runs nothing.

        Args:
            steps: First to last.
            has_client: Whether the caller serves functions.
            has_events: Whether the caller is told what happens at steps.

        Raises:
            Failure: Nothing can be said about functions just now: SERVER_DRAINING.
        """
        return (await self._plan(steps, has_client=has_client, has_events=has_events)).faults

    async def run(
        self,
        steps: Sequence[Spec],
        value: Json,
        *,
        error_mode: ErrorMode,
        events: bool,
        run_id: str,
        client: Served | None = None,
        time_left_s: float | None = None,
    ) -> AsyncGenerator[RunEvent, None]:
        """Run the composition of `steps` on `value`; see `run.run`.

        Args:
            steps: First to last.
            value: What to begin with.
            error_mode: What to do when an item fails.
            events: Whether to tell what happens at steps.
            run_id: What the run is called.
            client: The functions that the caller serves, if it does.
            time_left_s: How long the caller waits; None for as long as it takes.

        Raises:
            InvalidRequest: `steps` has faults; nothing has run.
            Failure: As `run.run` does.
        """
        plan = await self._plan(steps, has_client=client is not None, has_events=events)
        if plan.faults:
            raise InvalidRequest.of(plan.faults)
        limits = self._limits
        ends_s = time.monotonic() + (limits.run_s if time_left_s is None else min(time_left_s, limits.run_s))
        async with nullcontext() if self._functions is None else aclosing(self._functions.run()) as scripts:
            builder = Builder(
                self._models,
                plan.found,
                self._threads,
                limits,
                run_id,
                Budget(limits.run_retries, ends_s),
                scripts,
                client,
            )
            async with aclosing(run(builder, steps, value, error_mode=error_mode, events=events)) as told:
                async for event in told:
                    yield event

    async def _plan(self, steps: Sequence[Spec], *, has_client: bool, has_events: bool) -> _Plan:
        found, unasked = await self._resolved(steps)
        scripts = await self._script_faults([*steps, *_steps_of(found)])
        unknown = [name for name in names(steps, self._limits) if name not in found and name not in unasked]
        guessed = hints(unknown, [info.name for info in await self.infos()]) if unknown else {}
        known = Known(found, unasked, guessed, scripts, has_client, has_events)
        return _Plan(found, tuple(Validation(known, self._limits).faults(steps)))

    async def _resolved(self, steps: Sequence[Spec]) -> tuple[Mapping[str, Found], Collection[str]]:
        """Look up every name in `steps` and in the pipelines that they lead to, as many as one spec may hold.

        Returns:
            What is found; and the names that were not looked up, the others being too many already.
        """
        found: dict[str, Found] = {}
        waiting = names(steps, self._limits)
        seen = set(waiting)
        while waiting and len(found) < self._limits.step_nodes:
            name = waiting.pop()
            if (meant := await self.find(name)) is None:
                continue
            found[name] = meant
            if isinstance(meant, SavedPipeline):
                more = [each for each in names(meant.steps, self._limits) if each not in seen]
                seen.update(more)
                waiting += more
        return found, frozenset(waiting)

    async def _script_faults(self, steps: Sequence[Spec]) -> Mapping[str, str]:
        asked = sources(steps, self._limits)
        if not asked:
            return {}
        if self._functions is None:
            return dict.fromkeys(asked, _NO_JAVASCRIPT)
        found = await self._functions.faults(asked)
        return {source: fault for source, fault in zip(asked, found, strict=True) if fault is not None}


class _Python:
    """The steps that Python packages register: a `Source`."""

    def __init__(self, named: Mapping[str, Mapping[str, NamedStep]], is_tool: Callable[[str], bool]) -> None:
        self._named = named
        self._is_tool = is_tool

    async def find(self, name: str, version: str) -> NamedStep | None:
        there = self._named.get(name, {})
        return there.get(version) if version else next(iter(there.values()), None)

    async def infos(self) -> Sequence[StepInfo]:
        return [
            StepInfo(
                step.name,
                step.version,
                step.description,
                step.provider,
                step.input_schema,
                step.output_schema,
                step.input_schema is not None and self._is_tool(step.name),
            )
            for there in self._named.values()
            for step in there.values()
        ]


def _steps_of(found: Mapping[str, Found]) -> list[Spec]:
    return [step for each in found.values() if isinstance(each, SavedPipeline) for step in each.steps]
