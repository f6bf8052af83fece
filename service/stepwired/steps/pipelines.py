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
        """By name, then by version."""

        self._highest: dict[str, Listed] = {}
        self._infos: Sequence[StepInfo] | None = ()
        """None once what is there has changed."""

        self._count = self._step_count = self._size_bytes = 0
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
        if self._infos is None:
            listed = [each for there in self._all.values() for each in there.values()]
            listed.sort(key=lambda each: (each.pipeline.name, versions.falling(each.pipeline.version)))
            self._infos = [self._info(each) for each in listed]
        return self._infos

    def put(self, listed: Iterable[Listed]) -> None:
        """Add what was saved; what is there already stays."""
        for each in listed:
            there = self._all.setdefault(each.pipeline.name, {})
            if each.pipeline.version not in there:
                there[each.pipeline.version] = each
                self._highest[each.pipeline.name] = max(self._highest.get(each.pipeline.name, each), each, key=_rank)
                self._add(each, 1)

    def remove(self, name: str, gone: Iterable[str]) -> None:
        """Forget versions that were deleted."""
        left = self._all.get(name, {})
        for version in gone:
            if (each := left.pop(version, None)) is not None:
                self._add(each, -1)
        if left:
            self._highest[name] = max(left.values(), key=_rank)
        else:
            self._all.pop(name, None)
            self._highest.pop(name, None)

    def _add(self, each: Listed, times: int) -> None:
        self._count += times
        self._step_count += times * each.step_count
        self._size_bytes += times * each.size_bytes
        self._infos = None

    def check_room(self, new: Listed) -> None:
        """Refuse one more than memory is meant for.

        Raises:
            Throttled: STORE_FULL.
        """
        for what, size, most in (
            ("versions", self._count + 1, self._limits.pipelines),
            ("steps", self._step_count + new.step_count, self._limits.pipelines_steps),
            ("bytes", self._size_bytes + new.size_bytes, self._limits.pipelines_bytes),
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
        found = self._all.get(name, {}).get(version) if version else self._highest.get(name)
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


def _rank(listed: Listed) -> bytes:
    return versions.rank(listed.pipeline.version)


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
