"""The live tree of a run: which steps work, what went in and came out, how fast, and what failed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.tree import Tree

from stepwire import RunEvent, StageEvent, Step, _watching
from stepwire.cli.frame import printable

REFRESHES_PER_S = 8


@dataclass(slots=True)
class Stage:
    """One step, as far as its events tell."""

    title: str
    inputs: int = 0
    outputs: int = 0
    errors: int = 0
    retries: int = 0
    began_s: float = 0.0
    ended_s: float = 0.0

    def hear(self, event: StageEvent) -> None:
        now_s = time.monotonic()
        self.began_s = self.began_s or now_s
        match event.kind:
            case "started":
                self.inputs += 1
            case "result":
                self.outputs += 1
            case "error":
                self.errors += 1
            case "retrying":
                self.retries += 1
            case "completed" | "cancelled":
                self.ended_s = now_s

    def line(self) -> str:
        """Say how it stands."""
        if not self.began_s:
            return f"· {self.title}"
        facts = [f"{self.inputs} in, {self.outputs} out"]
        if self.outputs and (took_s := (self.ended_s or time.monotonic()) - self.began_s) > 0:
            facts.append(f"{self.outputs / took_s:.1f}/s")
        if self.errors:
            facts.append(f"{self.errors} failed")
        if self.retries:
            facts.append(f"{self.retries} tried again")
        return f"{'✓' if self.ended_s else '▸'} {self.title}: {', '.join(facts)}"


class Stages:
    """All steps of a run, in the shape of its spec. Shown by a `Live`."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._stages = {path: Stage(_title(step)) for path, step in _watching.places(steps)}

    def hear(self, event: RunEvent) -> None:
        """Take note of an event."""
        if isinstance(event, StageEvent) and (stage := self._stages.get(event.step_path)):
            stage.hear(event)

    def __rich__(self) -> Tree:
        root = Tree("run", style="dim", guide_style="dim")
        nodes: dict[str, Tree] = {}
        for path, stage in self._stages.items():
            # Those around a step stand before it, the nearest last.
            parent = next((node for outer, node in reversed(nodes.items()) if path.startswith(f"{outer}.")), root)
            nodes[path] = parent.add(stage.line(), style="red" if stage.errors else "dim")
        return root

    def live(self, console: Console, *, takes_output: bool) -> Live:
        """Show them on a terminal for as long as the context lasts.

        Args:
            console: Writes to it.
            takes_output: Whether the standard output goes to the same terminal, so that it has to stand above the tree.
        """
        return Live(
            self,
            console=console,
            transient=True,
            refresh_per_second=REFRESHES_PER_S,
            redirect_stdout=takes_output,
            redirect_stderr=True,
        )


def _title(step: Step) -> str:
    kind = step.WhichOneof("kind") or "nothing"
    return printable(step.name or (step.named if kind == "named" else kind))
