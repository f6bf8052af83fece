"""Runs the tools that one turn of a model asks for, side by side, each in its time, and tells what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import msgspec

from stepwired.errors import Failure, Reason, StepFailed, Throttled
from stepwired.events import Message, Role, ToolResult, ToolSteps, ToolUse
from stepwired.limits import Limits

AT_ONCE = 8
"""Tools of one reply that run at the same moment."""

#: Runs of tools that this task is within.
_depth: ContextVar[int] = ContextVar("depth", default=0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tool call, and the step that answers it."""

    use: ToolUse
    step: str


class Running:
    """Runs the tools of one reply.

    Args:
        steps: What they are.
        limits: Of their answers and their depth.
        timeout_s: What each may take. It is cancelled then; a thread that it has started runs on, unheard.
    """

    def __init__(self, steps: ToolSteps, limits: Limits, timeout_s: float) -> None:
        self._steps = steps
        self._limits = limits
        self._timeout_s = timeout_s
        self._left_bytes = limits.tool_results_bytes
        self.count = 0
        """How many have run."""

    def check_depth(self) -> None:
        """Refuse to go on within runs of tools within runs of tools.

        Raises:
            Throttled: STEP_LIMIT_EXCEEDED.
        """
        most = self._limits.tool_depth
        if _depth.get() >= most:
            facts = {"limitName": "tool_depth", "limit": str(most)}
            text = f"tools have asked models that have tools more than {most} deep"
            raise Throttled(Reason.STEP_LIMIT_EXCEEDED, text, metadata=facts)

    async def answers(self, wanted: Sequence[Wanted]) -> AsyncGenerator[tuple[int, Message], None]:
        """Run each; yields its place among `wanted` and its answer, in the order in which they end.

        Closing this cancels what runs, before it returns.

        Raises:
            Failure: One of them failed in a way that each further call of it would: a key, an account.
        """
        if not wanted:
            return
        slots = asyncio.Semaphore(AT_ONCE)
        self.count += len(wanted)
        # Not a group of tasks: nothing may be yielded within one.
        places = {asyncio.create_task(self._one(each, slots)): place for place, each in enumerate(wanted)}
        waiting = set(places)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=places.__getitem__):
                    yield places[task], task.result()
        finally:
            for task in places:
                task.cancel()
            await asyncio.wait(places)
            for task in places:
                if not task.cancelled():
                    task.exception()  # seen: only one of them can be told

    async def _one(self, wanted: Wanted, slots: asyncio.Semaphore) -> Message:
        _depth.set(_depth.get() + 1)  # of this task alone
        use = wanted.use
        async with slots:
            scope = asyncio.timeout(self._timeout_s)
            try:
                async with scope:
                    most = self._limits.tool_result_bytes
                    answer = await self._steps.run(wanted.step, dict(use.input), limit_bytes=most)
                if scope.expired():  # it did not let itself be ended, but it is too late all the same
                    return self._late(use)
            except Failure as failure:
                if failure.aborts_a_run:
                    raise
                return self._failed(use, failure)
            except TimeoutError:
                if not scope.expired():
                    raise
                return self._late(use)
        text = self._cut(answer.text, answer.total_bytes)
        metadata = {"run": dict(answer.facts)} if answer.facts else {}
        return Message(Role.TOOL, tool_result=ToolResult(use.tool_id, text), metadata=metadata)

    def _late(self, use: ToolUse) -> Message:
        late = f"the tool took more than the {self._timeout_s:g} s it has, and was ended"
        return self._failed(use, StepFailed(Reason.STEP_TIMEOUT, late))

    def _failed(self, use: ToolUse, failure: Failure) -> Message:
        told = {"error": {"reason": failure.reason, "message": str(failure)[:1000]}}
        text = self._cut(msgspec.json.encode(told).decode())
        return Message(Role.TOOL, tool_result=ToolResult(use.tool_id, text, is_error=True))

    def _cut(self, text: str, total_bytes: int = 0) -> str:
        """As much of an answer as the model is told, and a note if that is not all."""
        raw = text.encode()
        total_bytes = max(total_bytes, len(raw))
        kept = raw[: max(0, min(self._limits.tool_result_bytes, self._left_bytes))]
        self._left_bytes -= len(kept)
        if len(kept) == total_bytes:
            return text
        return f"{kept.decode(errors='ignore')}\n[cut: the first {len(kept)} of {total_bytes} bytes]".lstrip("\n")
