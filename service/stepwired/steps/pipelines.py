"""Saved pipelines in memory: found by name and version, listed, and kept from leading to themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from stepwired import versions
from stepwired.errors import Reason, Throttled, Violation
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.sources import SavedPipeline, StepInfo
from stepwired.steps.spec import Spec

PROVIDER = "pipeline"
"""Who serves a saved pipeline, as lists of steps say it."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A saved pipeline, and what else is known of it."""

    pipeline: SavedPipeline
    description: str
    size_bytes: int
    """What it takes in the store."""

    step_count: int

    @classmethod
    def of(cls, pipeline: SavedPipeline, description: str, size_bytes: int) -> Listed:
        """Count the steps of a pipeline, those within others too."""
        return cls(pipeline, description, size_bytes, sum(1 for _ in _every(pipeline.steps)))


class Pipelines:
    """The saved pipelines of a server: a `sources.Source`. A version that is there never changes.

    A run that was given a `SavedPipeline` keeps it, whatever is saved or deleted meanwhile.

    Args:
        limits: How much there may be.
        is_tool: Whether the operator lets chat models have the step of this name.
    """

    def __init__(self, limits: Limits, is_tool: Callable[[str], bool] = lambda _: False) -> None:
        self._limits = limits
        self._is_tool = is_tool
        self._all: dict[str, dict[str, Listed]] = {}
        """By name, then by version, the highest first."""

        self._claimed: list[str] = []

    def has(self, name: str) -> bool:
        """Whether a name is that of a pipeline, or of one that is just being saved."""
        return name in self._all or name in self._claimed

    @contextmanager
    def claimed(self, name: str) -> Iterator[None]:
        """Have a name within this block, so that nobody else takes it while a pipeline is being saved under it."""
        self._claimed.append(name)
        try:
            yield
        finally:
            self._claimed.remove(name)

    async def find(self, name: str, version: str) -> SavedPipeline | None:
        """Look one up; the highest if no version is named."""
        return self._find(name, version)

    async def infos(self) -> Sequence[StepInfo]:
        """All of them, by name, the highest version of each first."""
        return [self._info(each) for _, there in sorted(self._all.items()) for each in there.values()]

    def put(self, listed: Iterable[Listed]) -> None:
        """Add what was saved; what is there already stays."""
        changed: dict[str, dict[str, Listed]] = {}
        for each in listed:
            name = each.pipeline.name
            there = changed.setdefault(name, dict(self._all.get(name, {})))
            there.setdefault(each.pipeline.version, each)
        for name, there in changed.items():
            self._all[name] = dict(sorted(there.items(), key=lambda item: versions.rank(item[0]), reverse=True))

    def remove(self, name: str, gone: Iterable[str]) -> None:
        """Forget versions that were deleted."""
        left = self._all.get(name, {})
        for version in gone:
            left.pop(version, None)
        if not left:
            self._all.pop(name, None)

    def check_room(self, new: Listed) -> None:
        """Refuse one more than memory is meant for.

        Raises:
            Throttled: STORE_FULL.
        """
        there = [each for by_version in self._all.values() for each in by_version.values()]
        for what, size, most in (
            ("bytes", new.size_bytes + sum(each.size_bytes for each in there), self._limits.pipelines_bytes),
            ("steps", new.step_count + sum(each.step_count for each in there), self._limits.pipelines_steps),
        ):
            if size > most:
                text = f"all saved pipelines would have {size} {what}, and the limit is {most}: delete some"
                raise Throttled(Reason.STORE_FULL, text)

    def loops(self, new: SavedPipeline) -> Iterator[Violation]:
        """Find each step of a pipeline that would lead back to it, were it saved beside those that are there.

        Names without a version mean the highest that there would then be. Cost: each pipeline is looked at once.

        Args:
            new: What is to be saved; without a version if it is to become the highest.
        """
        harmless: set[tuple[str, str]] = set()
        for step, name in _references(new.steps):
            if way := self._way_back(new, name, harmless):
                text = f"leads back to the pipeline itself: {' → '.join(f'`{each}`' for each in way)}"
                yield Violation(f"{step.path}.named", text, Reason.STEP_GRAPH_INVALID)

    def _way_back(self, new: SavedPipeline, name: str, harmless: set[tuple[str, str]]) -> list[str]:
        """The names on the way from `new` through a name in it to itself; none if there is no way."""
        came_from: dict[tuple[str, str], tuple[str, str]] = {}
        waiting = [(name, (new.name, ""))]
        while waiting:
            name, before = waiting.pop()
            found = self._resolved(name, new)
            if found is None:
                continue
            if found is new:
                way = [name]
                while before in came_from:
                    way.append(before[0])
                    before = came_from[before]
                return [new.name, *reversed(way)]
            key = found.name, found.version
            if key not in harmless and key not in came_from:
                came_from[key] = before
                waiting += [(named, key) for _, named in _references(found.steps)]
        harmless.update(came_from)
        return []

    def _resolved(self, reference: str, new: SavedPipeline) -> SavedPipeline | None:
        """What a reference means once `new` is saved."""
        name, _, version = reference.partition("@")
        there = self._find(name, version)
        if name != new.name:
            return there
        if version:
            return new if version == new.version else there
        is_below = there and new.version and versions.rank(new.version) < versions.rank(there.version)
        return there if is_below else new

    def _find(self, name: str, version: str) -> SavedPipeline | None:
        there = self._all.get(name, {})
        found = there.get(version) if version else next(iter(there.values()), None)
        return found.pipeline if found else None

    def _info(self, listed: Listed) -> StepInfo:
        pipeline = listed.pipeline
        is_tool = pipeline.input_schema is not None and self._is_tool(pipeline.name)
        return StepInfo(
            pipeline.name,
            pipeline.version,
            listed.description,
            PROVIDER,
            input_schema=pipeline.input_schema,
            is_tool=is_tool,
        )


def _references(steps: Iterable[Spec]) -> Iterator[tuple[Spec, str]]:
    """The steps that name others, and what they name."""
    for step in _every(steps):
        if isinstance(step.kind, spec.Named):
            yield step, step.kind.name


def _every(steps: Iterable[Spec]) -> Iterator[Spec]:
    """Steps and all within them, in the order of the spec."""
    for step in steps:
        yield step
        yield from _every(spec.inside(step.kind))
