"""Steps in the spelling of the guide to the JavaScript API: `stepwire.guide` has what is here."""

# ruff: noqa: N802, N803, N815  the guide's names

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import stepwire
from stepwire import _wrapping, steps
from stepwire._flow import BlockingFlow, Flow
from stepwire._functions import CHANGES_STATE
from stepwire._guide_abort import known, unless_aborted
from stepwire._requests import StepLike
from stepwire.results import RunResults

__all__ = ["GuideStep", "Steps"]

_CALLBACKS = {"onResult", "onError", "onDone", "onCancel"}


class GuideStep(Flow):
    """A step with the guide's three ways to start it. Made by `Steps`."""

    def __init__(self, flow: Flow, client: stepwire.Client) -> None:
        super().__init__(flow.make)
        self._flow = BlockingFlow(flow.make, client)

    async def startAsync(self, input: Any = None, options: Mapping[str, Any] | None = None) -> RunResults:  # noqa: A002
        """Run it and return all values, with `metadata`; the first error is raised. `signal` is the only option."""
        return await unless_aborted(lambda: self._flow.start_async(input), options)

    def startBlocking(self, input: Any = None) -> RunResults:  # noqa: A002
        """Run it, wait, and return all values; the first error is raised."""
        return self._flow.start_blocking(input)

    def startWithCallbacks(
        self,
        input: Any = None,  # noqa: A002
        callbacks: Mapping[str, Callable[..., object]] | None = None,
    ) -> Callable[[], None]:
        """Begin to run it and tell `onResult(value)`, `onError`, `onDone` and `onCancel`; returns `cancel()`."""
        told = known(callbacks or {}, _CALLBACKS)
        on_result = told.get("onResult", lambda _: None)
        if inspect.iscoroutinefunction(on_result):
            raise TypeError("onResult is a coroutine function: callbacks are called, and not awaited")
        return self._flow.start_with_callbacks(
            input,
            lambda result: on_result(result.value),
            on_error=told.get("onError"),
            on_done=told.get("onDone"),
            on_cancel=told.get("onCancel"),
        )

    StartAsync = startAsync
    StartBlocking = startBlocking
    StartWithCallbacks = startWithCallbacks


class Steps:
    """The guide's functions that make steps, for one client. Where a step is wanted, there may be a function.

        steps = Steps(client)
        double = steps.createMapStep(lambda x: x * 2)
        print(double.startBlocking([1, 2, 3]))

    Steps that were registered are attributes: after `RegisterStep("double", double)` there is `steps.double`.
    """

    def __init__(self, client: stepwire.Client) -> None:
        self._client = client
        self._registered: dict[str, GuideStep] = {}

    def createMapStep(self, step: StepLike) -> GuideStep:
        return self._made(steps.map(step))

    def compose(self, several: Sequence[StepLike]) -> GuideStep:
        return self._made(steps.compose(several))

    def createStep(self, options: Mapping[str, Any]) -> GuideStep:
        """Run `process` between `input` and `output`; each may be left out."""
        return self._made(steps.create_step(**known(options, {"input", "process", "output"})))

    def createParallelStep(self, options: Mapping[str, Any]) -> GuideStep:
        """Run `step` on each item of a list, `maxConcurrency` at once."""
        given = known(options, {"step", "maxConcurrency"})
        return self._made(steps.parallel(given["step"], max_concurrency=given.get("maxConcurrency", 4)))

    def withRetry(self, step: StepLike, options: Mapping[str, Any] | None = None) -> GuideStep:
        """Run it again when it fails: `maxAttempts`, `backoff(attempt)` in milliseconds, `shouldRetry(error)`.

        The latter by default asks `error.isTransient`.
        """
        given = known(options or {}, {"maxAttempts", "backoff", "shouldRetry"})
        attempts, backoff, when = given.get("maxAttempts", 3), given.get("backoff"), given.get("shouldRetry")
        return self._made(steps.with_retry(step, max_attempts=attempts, backoff=backoff, when=when))

    def withState(self, options: Mapping[str, Any]) -> GuideStep:
        """Call `step(input, state)`, beginning with `initialState` in each run.

        It may change the state and return the result, or return `{"output": …, "state": …}`, `{"outputs": […], "state":
        …}`, or a pair of output and state. If it fails, the state is as it was before.
        """
        given = known(options, {"initialState", "step"})
        return self._made(_wrapping.stateful(given.get("initialState"), given["step"], CHANGES_STATE))

    def withEvents(self, step: StepLike, events: Mapping[str, Callable[..., object]]) -> GuideStep:
        """Tell `onStart(input)`, `onResult(value)`, `onComplete()` and `onError(error)` what happens at it.

        Of many quick items, not every input and value is told; the results of the run are all there.
        """
        told = known(events, {"onStart", "onResult", "onComplete", "onError"})
        return self._made(
            steps.with_events(
                step,
                on_start=told.get("onStart"),
                on_result=told.get("onResult"),
                on_complete=told.get("onComplete"),
                on_error=told.get("onError"),
            )
        )

    def RegisterStep(
        self,
        name: str,
        step: StepLike,
        inputConverter: StepLike | None = None,
        outputConverter: StepLike | None = None,
    ) -> GuideStep:
        """Keep a step under a name of this program, with functions that convert what goes in and comes out.

        Raises:
            TypeError: The name is taken by a method.
        """
        if hasattr(type(self), name):
            raise TypeError(f"`steps.{name}` is something else")
        made = self._made(steps.create_step(input=inputConverter, process=step, output=outputConverter))
        self._registered[name] = made
        return made

    registerStep = RegisterStep
    CreateMapStep = createMapStep
    Compose = compose
    CreateStep = createStep
    CreateParallelStep = createParallelStep
    WithRetry = withRetry
    WithState = withState
    WithEvents = withEvents

    def __getattr__(self, name: str) -> GuideStep:
        with suppress(KeyError):
            return self.__dict__["_registered"][name]  # type: ignore[no-any-return]
        raise AttributeError(f"no step {name!r} was registered")

    def _made(self, flow: Flow) -> GuideStep:
        return GuideStep(flow, self._client)
