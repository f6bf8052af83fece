"""Knows every step there is: finds the named ones, finds the faults of a spec, and starts runs."""

from __future__ import annotations

import difflib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.build import Builder
from stepwired.steps.leaves import Models
from stepwired.steps.named import NamedStep
from stepwired.steps.results import ErrorMode, RunEvent
from stepwired.steps.run import run
from stepwired.steps.sources import StepInfo
from stepwired.steps.spec import Spec
from stepwired.steps.threads import Threads


class Registry:
    """Every step that this server can run.

    Args:
        models: What the leaves ask.
        named: Steps by name, then by version, the highest version first; as `named.discover` gives them.
        limits: What one run may use.
    """

    def __init__(self, models: Models, named: Mapping[str, Mapping[str, NamedStep]], limits: Limits) -> None:
        self._models = models
        self._named = named
        self._limits = limits
        self._threads = Threads(limits.step_threads)

    def infos(self) -> Sequence[StepInfo]:
        """The named steps, by name, each version of its own, the highest first."""
        return [
            StepInfo(step.name, step.version, step.description, step.provider)
            for versions in self._named.values()
            for step in versions.values()
        ]

    def validate(self, steps: Sequence[Spec]) -> tuple[Violation, ...]:
        """Find every fault that keeps `steps` from running, in their order. Runs nothing."""
        return tuple(_Validation(self._find, tuple(self._named), self._limits).faults(steps))

    def run(
        self, steps: Sequence[Spec], value: Json, *, error_mode: ErrorMode, events: bool, run_id: str
    ) -> AsyncGenerator[RunEvent, None]:
        """Run the composition of `steps` on `value`; see `run.run`.

        Raises:
            InvalidRequest: `steps` has faults; nothing has run.
        """
        if faults := self.validate(steps):
            raise InvalidRequest.of(faults)
        builder = Builder(self._models, self._find, self._threads, self._limits)
        return run(builder, steps, value, error_mode=error_mode, events=events, run_id=run_id)

    def _find(self, name: str) -> NamedStep | None:
        name, _, version = name.partition("@")
        versions = self._named.get(name, {})
        return versions.get(version) if version else next(iter(versions.values()), None)


class _Validation:
    """One look through a spec."""

    def __init__(self, find: Callable[[str], NamedStep | None], names: Sequence[str], limits: Limits) -> None:
        self._find = find
        self._names = names
        self._limits = limits
        self._nodes = 0

    def faults(self, steps: Sequence[Spec], depth: int = 1, *, is_stage: bool = True) -> Iterator[Violation]:
        for step in steps:
            self._nodes += 1
            if self._nodes == self._limits.step_nodes + 1:
                yield _fault(step.path, f"has more than {self._limits.step_nodes} steps before it")
            if self._nodes > self._limits.step_nodes:
                return
            if depth > self._limits.step_depth:
                yield _fault(step.path, f"lies more than {self._limits.step_depth} steps deep")
                continue
            yield from self._of(step, depth, is_stage)

    def _of(self, step: Spec, depth: int, is_stage: bool) -> Iterator[Violation]:
        match step.kind:
            case None:
                yield _fault(step.path, "says nothing to do: set one of its kinds, such as `named` or `chat`")
            case spec.Named(name) if self._find(name) is None:
                near = difflib.get_close_matches(name[:128].partition("@")[0], self._names, 1)
                hint = f"; did you mean `{near[0]}`?" if near else "; ListSteps shows those there are"
                yield _fault(f"{step.path}.named", f"no step is called `{name[:128]}`{hint}")
            case spec.Map(None):
                yield _fault(f"{step.path}.map.step", "is missing: a map needs a step to run on each item")
            case spec.Map(inner) if inner is not None:
                yield from self.faults([inner], depth + 1, is_stage=False)
            case spec.Compose(inner_steps):
                yield from self.faults(inner_steps, depth + 1)
        if is_stage and isinstance(step.kind, spec.Compose | spec.Gather) and step.max_concurrency > 1:
            kind = "compose" if isinstance(step.kind, spec.Compose) else "gather"
            text = f"a {kind} takes its inputs as one stream: set it on the steps that work, or map the {kind}"
            yield _fault(f"{step.path}.max_concurrency", text)


def _fault(path: str, description: str) -> Violation:
    return Violation(path, description, Reason.STEP_GRAPH_INVALID)
