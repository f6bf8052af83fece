"""Saved pipelines in memory: found by name and version, listed, and kept from leading to themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from stepwired import versions
from stepwired.errors import Reason, Throttled, Violation
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.sources import SavedPipeline, StepInfo

PROVIDER = "pipeline"
"""Who serves a saved pipeline, as lists of steps say it."""

_SHOWN = 10
"""Names of a way that are told."""

_Key = tuple[str, str]
"""Name and version."""

_NEW: _Key = ("", "")
"""What is just being saved; it may have no version yet."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A saved pipeline, and what else is known of it."""

    pipeline: SavedPipeline
    description: str
    size_bytes: int
    """What it takes in the store."""

    step_count: int
    names: tuple[str, ...]
    """What its steps name, each once."""

    @classmethod
    def of(cls, pipeline: SavedPipeline, description: str, size_bytes: int) -> Listed:
        """Count the steps of a pipeline, those within others too."""
        steps = list(spec.every(pipeline.steps))
        names = tuple(dict.fromkeys(step.kind.name for step in steps if isinstance(step.kind, spec.Named)))
        return cls(pipeline, description, size_bytes, len(steps), names)


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
        onwards = self._onwards(new)
        for step in spec.every(new.steps):
            if not isinstance(step.kind, spec.Named):
                continue
            way = [new.name, step.kind.name]
            there = self._resolved(way[-1], new)
            left = 0
            while there is not None and there is not new and (after := onwards.get(_key(there))) is not None:
                name, there, left = after
                if len(way) == _SHOWN:
                    way += [f"({left} more)", new.name]
                    there = new
                else:
                    way.append(name)
            if there is new:
                text = f"leads back to the pipeline itself: {' → '.join(f'`{each}`' for each in way)}"
                yield Violation(f"{step.path}.named", text, Reason.STEP_GRAPH_INVALID)

    def _onwards(self, new: SavedPipeline) -> dict[_Key, tuple[str, SavedPipeline, int]]:
        """From each pipeline that leads to `new`, the name in it by which the shortest way goes on, to what, and how
        many names follow.
        """
        before: dict[_Key, list[tuple[_Key, str, SavedPipeline]]] = {}
        """By what is named: what names it, and how."""

        waiting: list[tuple[SavedPipeline, Iterable[str]]] = [(new, Listed.of(new, "", 0).names)]
        seen = {_NEW}
        while waiting:
            there, names = waiting.pop()
            for name in names:
                if (found := self._resolved(name, new)) is None:
                    continue
                key = _NEW if found is new else _key(found)
                if there is not new:
                    before.setdefault(key, []).append((_key(there), name, found))
                if key not in seen:
                    seen.add(key)
                    waiting.append((found, self._all[found.name][found.version].names))
        onwards: dict[_Key, tuple[str, SavedPipeline, int]] = {}
        nearest = deque([(_NEW, 0)])
        while nearest:
            there_key, left = nearest.popleft()
            for key, name, found in before.get(there_key, ()):
                if key not in onwards:
                    onwards[key] = name, found, left
                    nearest.append((key, left + 1))
        return onwards

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


def _key(pipeline: SavedPipeline) -> _Key:
    return pipeline.name, pipeline.version
