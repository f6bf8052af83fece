"""Finds every fault that keeps a spec from running, without running any of it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from stepwired.errors import Reason, Violation
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.sources import Found, SavedPipeline
from stepwired.steps.spec import Spec

_NAME_CHARACTERS = 128
_HINTS = 5
_HINT_NAMES = 100
_HINT_CHARACTERS = 40
"""So many names, of so many characters, are held against so many others, those with the same first letter first."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a spec is held against."""

    found: Mapping[str, Found]
    """What each name in it means, and each in the pipelines that it leads to."""

    unasked: Collection[str]
    """Names that nobody was asked about, since there are more of them than a spec may have steps."""

    hints: Mapping[str, str]
    """What may be meant by names that mean nothing, as far as anybody could guess."""

    scripts: Mapping[str, str]
    """Why a source is no function, by the source; those that are good are not there."""

    has_client: bool
    """Whether the caller serves functions."""

    has_events: bool
    """Whether the caller is told what happens at steps."""


class Validation:
    """One look through a spec."""

    def __init__(self, known: Known, limits: Limits) -> None:
        self._known = known
        self._limits = limits
        self._nodes = 0
        self._within: list[str] = []
        """The pipelines whose steps are looked at, outermost first."""

    def faults(
        self, steps: Sequence[Spec], depth: int = 1, *, is_stage: bool = True, is_last: bool = True
    ) -> Iterator[Violation]:
        """Look at steps that follow each other, or stand alone.

        Args:
            steps: First to last.
            depth: How deep they lie, from 1.
            is_stage: They are parts of a composition.
            is_last: The results of the last one are those of the run, at once and in order.
        """
        for index, step in enumerate(steps):
            self._nodes += 1
            if self._nodes == self._limits.step_nodes + 1:
                yield _fault(step.path, f"has more than {self._limits.step_nodes} steps before it")
            if self._nodes > self._limits.step_nodes:
                return
            if depth > self._limits.step_depth:
                yield _fault(step.path, f"lies more than {self._limits.step_depth} steps deep")
                continue
            last = is_last and index == len(steps) - 1
            yield from self._of(step, is_stage, last)
            yield from self._inside(step, depth, last)

    def _of(self, step: Spec, is_stage: bool, is_last: bool) -> Iterator[Violation]:
        """What is wrong with a step itself."""
        match step.kind:
            case None:
                yield _fault(step.path, "says nothing to do: set one of its kinds, such as `named` or `chat`")
            case spec.Named(name) if name not in self._known.found and name not in self._known.unasked:
                near = self._known.hints.get(name)
                hint = f"; did you mean `{near}`?" if near else "; ListSteps shows those there are"
                yield _fault(f"{step.path}.named", f"no step is called `{name[:_NAME_CHARACTERS]}`{hint}")
            case spec.Javascript(source) if source in self._known.scripts:
                yield _fault(f"{step.path}.javascript", self._known.scripts[source])
            case spec.Client() if not self._known.has_client:
                yield _fault(f"{step.path}.client", "is served on RunInteractive only")
            case spec.Retry(emitted=spec.Emitted.RESTART):
                yield from self._restarting(step, f"{step.path}.retry.emitted", is_last)
            case spec.ChatLeaf(options=options, emit=spec.ChatEmit.DELTAS) if options.may_restart:
                field = "restart" if options.restart else "response_format.retry"
                yield from self._restarting(step, f"{step.path}.chat.options.{field}", is_last)
        yield from _missing(step)
        if is_stage and step.max_concurrency > 1 and (what := _AS_ONE_STREAM.get(type(step.kind))):
            text = f"a {what} takes its inputs as one stream: set it on the steps that work, or map the {what}"
            yield _fault(f"{step.path}.max_concurrency", text)

    def _restarting(self, step: Spec, field: str, is_last: bool) -> Iterator[Violation]:
        """What is wrong with a step that says of results which it has given that they no longer hold."""
        if not (is_last and step.max_concurrency == 1):
            yield _fault(field, "may stand only where the results are those of the run, at once: last, and one by one")
        elif not self._known.has_events:
            yield _fault(field, "needs `events`, which say what no longer holds")

    def _inside(self, step: Spec, depth: int, is_last: bool) -> Iterator[Violation]:
        """What is wrong with the steps within one."""
        match step.kind:
            case spec.Compose() | spec.Process():
                yield from self.faults(list(spec.inside(step.kind)), depth + 1, is_last=is_last)
            case spec.Named(name) if isinstance(found := self._known.found.get(name), SavedPipeline):
                yield from self._pipeline(step, found, depth)
            case spec.Map(inner) if inner is not None:
                one_by_one = is_last and step.max_concurrency == 1
                yield from self.faults([inner], depth + 1, is_stage=False, is_last=one_by_one)
            case spec.Choice(cases, otherwise):
                one_by_one = is_last and step.max_concurrency == 1
                for case in cases:
                    yield from self._alone(case.when, depth, is_last=False)
                    yield from self._alone(case.then, depth, is_last=one_by_one)
                yield from self._alone(otherwise, depth, is_last=one_by_one)
            case kind:
                for inner in spec.inside(kind):
                    yield from self._alone(inner, depth, is_last=False)

    def _alone(self, step: Spec | None, depth: int, *, is_last: bool) -> Iterator[Violation]:
        if step is not None:
            yield from self.faults([step], depth + 1, is_stage=False, is_last=is_last)

    def _pipeline(self, step: Spec, found: SavedPipeline, depth: int) -> Iterator[Violation]:
        """What is wrong with the steps of a pipeline, told where it is named."""
        what = f"{found.name}@{found.version}"
        if what in self._within:
            way = " → ".join(f"`{each}`" for each in [*self._within[self._within.index(what) :], what])
            yield _fault(f"{step.path}.named", f"leads to itself: {way}")
            return
        self._within.append(what)
        for fault in self.faults(found.steps, depth + 1, is_last=False):
            yield _fault(f"{step.path}.named", f"in the pipeline `{what}`, {fault.field}: {fault.description}")
        self._within.pop()


_AS_ONE_STREAM: Mapping[type, str] = {
    spec.Compose: "compose",
    spec.Process: "process",
    spec.Gather: "gather",
    spec.Take: "take",
}


def _missing(step: Spec) -> Iterator[Violation]:
    """The steps that a step needs and does not have."""
    path = step.path
    match step.kind:
        case spec.Map(None):
            yield _fault(f"{path}.map.step", "is missing: a map needs a step to run on each item")
        case spec.Parallel(None):
            yield _fault(f"{path}.parallel.step", "is missing: a parallel needs a step to run on each item")
        case spec.Filter(None):
            yield _fault(f"{path}.filter.where", "is missing: a filter needs a function that says yes or no")
        case spec.Retry(None):
            yield _fault(f"{path}.retry.step", "is missing: a retry needs a step to run")
        case spec.Timeout(None):
            yield _fault(f"{path}.timeout.step", "is missing: a timeout needs a step to run")
        case spec.State(None):
            yield _fault(f"{path}.state.step", "is missing: a state needs a function")
        case spec.Choice(()):
            yield _fault(f"{path}.choice.cases", "is empty: a choice needs a case or more")
        case spec.Choice(cases):
            for index, case in enumerate(cases):
                for name in ("when", "then"):
                    if getattr(case, name) is None:
                        yield _fault(f"{path}.choice.cases[{index}].{name}", "is missing: a case needs both")


def sources(steps: Iterable[Spec], limits: Limits) -> list[str]:
    """The sources of all functions in JavaScript, each once."""
    found = (step.kind.source for step in _every(steps, limits) if isinstance(step.kind, spec.Javascript))
    return [source for source in dict.fromkeys(found) if source]


def names(steps: Iterable[Spec], limits: Limits) -> list[str]:
    """All that steps name, each once."""
    return list(dict.fromkeys(step.kind.name for step in _every(steps, limits) if isinstance(step.kind, spec.Named)))


def hints(unknown: Iterable[str], there: Iterable[str]) -> Mapping[str, str]:
    """Guess what is meant by the first few of several names. Cost: some 10 ms.

    Args:
        unknown: Names, each perhaps with a version.
        there: The names there are.
    """
    known = list(dict.fromkeys(there))
    found = {}
    for asked in islice(dict.fromkeys(unknown), _HINTS):
        name = asked[: 2 * _HINT_CHARACTERS].partition("@")[0]
        alike = [
            each for each in known if len(each) <= _HINT_CHARACTERS and abs(len(each) - len(name)) <= len(name) // 2
        ]
        alike.sort(key=lambda each: each[:1] != name[:1])
        if near := difflib.get_close_matches(name, alike[:_HINT_NAMES], 1):
            found[asked] = near[0]
    return found


def _every(steps: Iterable[Spec], limits: Limits) -> Iterator[Spec]:
    """Steps and all within them, as many and as deep as a spec may have."""
    return spec.every(steps, most=limits.step_nodes, depth=limits.step_depth)


def _fault(path: str, description: str) -> Violation:
    return Violation(path, description, Reason.STEP_GRAPH_INVALID)
