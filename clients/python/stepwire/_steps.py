"""The pipeline calls of a client."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal, TypeAlias

from stepwire import _interactive, _requests, _restarts, _values, _watching, errors, results
from stepwire._connection import Connection
from stepwire._functions import Functions
from stepwire._requests import StepLike
from stepwire.v1 import step_run_pb2

ErrorMode: TypeAlias = Literal["continue", "fail_fast"]

_ERROR_MODES = {
    "continue": step_run_pb2.ERROR_MODE_CONTINUE,
    "fail_fast": step_run_pb2.ERROR_MODE_FAIL_FAST,
}

PAGE_SIZE = 1000


class StepCalls:
    """Runs pipelines: each result of a step is the input of the next."""

    _connection: Connection

    async def run(
        self,
        steps: StepLike | Sequence[StepLike],
        input: Any = None,  # noqa: A002  the wire's word, and the one people expect
        *,
        on_error: ErrorMode = "continue",
        run_id: str = "",
        timeout_s: float | None = None,
    ) -> AsyncGenerator[results.StepResult, None]:
        """Run steps on an input and yield the results, in order, as they come.

            async for result in client.run([{"map": {"step": {"named": "upper"}}}], ["a", "b"]):
                print(result.path, result.error or result.value)

        Leaving the loop early cancels the run, all steps of it.

        Args:
            steps: One step or several, first to last: names of steps, JSON, what `stepwire.steps` makes, or
                functions of this program, which are called here.
            input: The value to begin with: anything JSON.
            on_error: What to do when an item fails: yield its error in its place and go on, or fail with it.
            run_id: Identifies the run in logs and events; empty for a new UUID.
            timeout_s: Seconds for the whole run; None for no limit but the client's `idle_s` between two results.

        Raises:
            errors.Error: The call failed, perhaps after some results; the subclass says what to do.
        """
        async with aclosing(self._run(steps, input, False, on_error, run_id, timeout_s)) as events:
            async for event in events:
                if isinstance(event, results.StepResult):
                    yield event

    async def run_events(
        self,
        steps: StepLike | Sequence[StepLike],
        input: Any = None,  # noqa: A002
        *,
        on_error: ErrorMode = "continue",
        run_id: str = "",
        timeout_s: float | None = None,
    ) -> AsyncGenerator[results.RunEvent, None]:
        """Run steps and yield all that happens: `RunStarted`, results, `StageEvent`s, then exactly one `RunFinished`.

            async for event in client.run_events([{"chat": {}}], "Tell me a story."):
                if isinstance(event, stepwire.StageEvent):
                    print(event.text, end="", flush=True)

        A loop that is slower than the run loses events, never results; the next `StageEvent` says how many, as
        `dropped_before`.

        Args:
            steps: One step or several, first to last: names of steps, JSON, what `stepwire.steps` makes, or
                functions of this program, which are called here.
            input: The value to begin with: anything JSON.
            on_error: What to do when an item fails: yield its error in its place and go on, or fail with it.
            run_id: Identifies the run in logs and events; empty for a new UUID.
            timeout_s: Seconds for the whole run; None for no limit but the client's `idle_s` between two events.

        Raises:
            errors.Error: The call failed, perhaps after some events; the subclass says what to do.
        """
        async with aclosing(self._run(steps, input, True, on_error, run_id, timeout_s)) as events:
            async for event in events:
                yield event

    async def _run(
        self,
        steps: StepLike | Sequence[StepLike],
        value: Any,
        wants_stages: bool,
        on_error: ErrorMode,
        run_id: str,
        timeout_s: float | None,
        idle_s: float | None = None,
    ) -> AsyncGenerator[results.RunEvent, None]:
        functions = Functions()
        with _requests.checked():
            request = step_run_pb2.RunStepRequest(
                steps=_requests.steps(steps, functions),
                input=_values.to_value(value),
                error_mode=_requests.choice("on_error", on_error, _ERROR_MODES),
                events=wants_stages or bool(functions.watchers),
                run_id=run_id,
            )
        _watching.locate(request.steps, functions)
        if not wants_stages:
            _restarts.refuse(request.steps)
        event: results.RunEvent | None = None
        async with aclosing(self._responses(request, functions, timeout_s, idle_s)) as responses:
            watching = _watching.Watching(functions.watchers, request.steps)
            try:
                async for response in responses:
                    if (event := results.run_event(response)) is None:
                        continue
                    # In a pipeline that the server keeps; there are such events where somebody watches a step.
                    if isinstance(event, results.StageEvent) and event.kind == "restarted" and not wants_stages:
                        raise _restarts.refused(event.step_path)
                    await watching.hear(event)
                    if isinstance(event, results.StepResult) and event.error is not None:
                        functions.explain(event.error)
                    if wants_stages or not isinstance(event, results.StageEvent):
                        yield event
            except errors.Error as failed:
                functions.explain(failed)
                await watching.fail(failed)
                raise
            finally:
                watching.close()
        if not isinstance(event, results.RunFinished):  # what there is may look whole, and is not
            raise errors.ServerError("the run ended without its last event", code="INTERNAL")

    def _responses(
        self,
        request: step_run_pb2.RunStepRequest,
        functions: Functions,
        timeout_s: float | None,
        idle_s: float | None,
    ) -> AsyncGenerator[step_run_pb2.RunStepResponse, None]:
        if len(functions):
            return _interactive.run(self._connection, request, functions, timeout_s)
        return self._connection.stream(self._connection.steps.RunStep, request, timeout_s, idle_s=idle_s)

    async def collect(
        self,
        steps: StepLike | Sequence[StepLike],
        input: Any = None,  # noqa: A002
        *,
        on_error: ErrorMode = "fail_fast",
        run_id: str = "",
        timeout_s: float | None = None,
    ) -> results.RunResults:
        """Run steps on an input and return all values.

            print(await client.collect("upper", "hi"))  # ['HI']

        Args:
            steps: One step or several, first to last: names of steps, JSON, what `stepwire.steps` makes, or
                functions of this program, which are called here.
            input: The value to begin with: anything JSON.
            on_error: What to do when an item fails: fail with it, or keep its error in its place and go on.
            run_id: Identifies the run in logs; empty for a new UUID.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `long_timeout_s`.

        Returns:
            A list of the values, as many as there are, in the order of their paths, with `metadata` (how the run went),
            `results` (with their paths) and `run_id`.

        Raises:
            errors.Error: An item or the whole call failed; the subclass says what to do.
        """
        items: list[results.StepResult] = []
        metadata = step_run_pb2.StepMetadata()
        # As a stream: an answer of one message ends at 10,000 results and 4 MiB, when all the work is done.
        limit_s = self._connection.long_timeout_s if timeout_s is None else timeout_s
        async with aclosing(self._run(steps, input, False, on_error, run_id, limit_s, idle_s=math.inf)) as events:
            async for event in events:
                match event:
                    case results.StepResult():
                        items.append(event)
                    case results.RunStarted():
                        run_id = event.run_id
                    case results.RunFinished():
                        metadata = event.metadata
        items.sort(key=lambda result: result.path)  # where a step is `as_completed`
        return results.RunResults(items, metadata, run_id)

    async def list_steps(self, *, timeout_s: float | None = None) -> list[step_run_pb2.StepInfo]:
        """List the steps that can be run by name.

            for step in await client.list_steps():
                print(step.name, step.description)

        Args:
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        found: list[step_run_pb2.StepInfo] = []
        request = step_run_pb2.ListStepsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._connection.unary(self._connection.steps.ListSteps, request, timeout_s)
            found.extend(page.steps)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def validate(
        self, steps: StepLike | Sequence[StepLike], *, timeout_s: float | None = None
    ) -> list[errors.Violation]:
        """Report every fault of a spec without running it; nothing for a spec that can run.

            for fault in await client.validate([{"map": {}}]):
                print(fault.field, fault.description)

        Args:
            steps: One step or several, first to last: names of steps, JSON, what `stepwire.steps` makes, or
                functions of this program, which are called here.
            timeout_s: Seconds until this fails with `DeadlineExceeded`; None for the client's `timeout_s`.

        Raises:
            errors.Error: The call failed; the subclass says what to do.
        """
        with _requests.checked():
            functions = Functions()
            request = step_run_pb2.ValidateStepRequest(steps=_requests.steps(steps, functions))
        _watching.locate(request.steps, functions)
        response = await self._connection.unary(self._connection.steps.ValidateStep, request, timeout_s)
        return [errors.Violation(fault.field, fault.description, fault.reason) for fault in response.violations]
