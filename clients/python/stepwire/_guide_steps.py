"""Steps in the spelling of the guide to the JavaScript API: `stepwire.guide` has what is here."""

# ruff: noqa: N802, N803, N815  the guide's names

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import stepwire
from stepwire import errors, steps
from stepwire._flow import BlockingFlow, Flow
from stepwire._functions import takes_two
from stepwire._requests import StepLike
from stepwire.results import RunResults

__all__ = ["AbortController", "AbortError", "AbortSignal", "GuideStep", "Steps"]

_CALLBACKS = {"onResult", "onError", "onDone", "onCancel"}


class AbortError(errors.Cancelled):
    """The run was ended by its own `AbortController`."""

    name = "AbortError"

    def __init__(self) -> None:
        super().__init__("the run was aborted", code="CANCELLED")


class AbortSignal:
    """What an `AbortController` tells runs with."""

    def __init__(self) -> None:
        self.ended: Future[None] = Future()

    @property
    def aborted(self) -> bool:
        return self.ended.done()


class AbortController:
    """Ends the runs that were started with its `signal`, from any thread."""

    def __init__(self) -> None:
        self.signal = AbortSignal()

    def abort(self) -> None:
        with suppress(InvalidStateError):  # it was ended already, or is just being by another thread
            self.signal.ended.set_result(None)


class GuideStep(Flow):
    """A step with the guide's three ways to start it. Made by `Steps`."""

    def __init__(self, flow: Flow, client: stepwire.Client) -> None:
        super().__init__(flow.make)
        self._flow = BlockingFlow(flow.make, client)

    async def startAsync(self, input: Any = None, options: Mapping[str, Any] | None = None) -> RunResults:  # noqa: A002
        """Run it and return all values, with `metadata`; the first error is raised. `signal` is the only option."""
        signal: AbortSignal | None = _known(options or {}, {"signal"}).get("signal")
        if signal is None:
            return await self._flow.start_async(input)
        if signal.aborted:
            raise AbortError
        running: asyncio.Future[Any] = asyncio.ensure_future(self._flow.start_async(input))
        aborted = asyncio.wrap_future(_after(signal))
        try:
            await asyncio.wait([running, aborted], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise AbortError
            return running.result()  # type: ignore[no-any-return]
        finally:
            for task in (running, aborted):
                task.cancel()
            await asyncio.gather(running, aborted, return_exceptions=True)

    def startBlocking(self, input: Any = None) -> RunResults:  # noqa: A002
        """Run it, wait, and return all values; the first error is raised."""
        return self._flow.start_blocking(input)

    def startWithCallbacks(self, input: Any, callbacks: Mapping[str, Callable[..., object]]) -> Callable[[], None]:  # noqa: A002
        """Begin to run it and tell `onResult(value)`, `onError`, `onDone` and `onCancel`; returns `cancel()`."""
        told = _known(callbacks, _CALLBACKS)
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
        return self._made(steps.create_step(**_known(options, {"input", "process", "output"})))

    def createParallelStep(self, options: Mapping[str, Any]) -> GuideStep:
        """Run `step` on each item of a list, `maxConcurrency` at once."""
        given = _known(options, {"step", "maxConcurrency"})
        return self._made(steps.parallel(given["step"], max_concurrency=given.get("maxConcurrency", 4)))

    def withRetry(self, step: StepLike, options: Mapping[str, Any] | None = None) -> GuideStep:
        """Run it again when it fails: `maxAttempts`, `backoff(attempt)` in milliseconds, `shouldRetry(error)`.

        Errors have `isTransient` for the latter.
        """
        given = _known(options or {}, {"maxAttempts", "backoff", "shouldRetry"})
        when = given.get("shouldRetry")
        if callable(when):
            when = _with_guide_error(when)
        return self._made(
            steps.with_retry(step, max_attempts=given.get("maxAttempts", 3), backoff=given.get("backoff"), when=when)
        )

    def withState(self, options: Mapping[str, Any]) -> GuideStep:
        """Call `step(input, state)`, which returns `{"output": …, "state": …}`, beginning with `initialState`."""
        given = _known(options, {"initialState", "step"})
        return self._made(steps.with_state(given.get("initialState"), given["step"]))

    def withEvents(self, step: StepLike, events: Mapping[str, Callable[..., object]]) -> GuideStep:
        """Tell `onStart(input)`, `onResult(value)`, `onComplete()` and `onError(error)` what happens at it."""
        told = _known(events, {"onStart", "onResult", "onComplete", "onError"})
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
        """Keep a step under a name of this program, with functions that convert what goes in and comes out."""
        made = self._made(steps.create_step(input=inputConverter, process=step, output=outputConverter))
        self._registered[name] = made
        return made

    registerStep = RegisterStep

    def __getattr__(self, name: str) -> GuideStep:
        with suppress(KeyError):
            return self.__dict__["_registered"][name]  # type: ignore[no-any-return]
        raise AttributeError(f"no step {name!r} was registered")

    def _made(self, flow: Flow) -> GuideStep:
        return GuideStep(flow, self._client)


def _known(given: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    for name in given:
        if name not in names:
            raise TypeError(f"`{name}` is no option: there are {', '.join(sorted(names))}")
    return dict(given)


def _after(signal: AbortSignal) -> Future[None]:
    """A future of its own for each run: one that is cancelled must not end the signal."""
    own: Future[None] = Future()

    def tell(_: Future[None]) -> None:
        if own.set_running_or_notify_cancel():
            own.set_result(None)

    signal.ended.add_done_callback(tell)
    return own


def _with_guide_error(when: Callable[..., Any]) -> Callable[..., Any]:
    """Give errors the guide's name for what they say of trying again, and the attempt to those who want it."""
    wants_attempt = takes_two(when)

    def ask(error: errors.Error, attempt: int) -> Any:
        error.isTransient = error.is_transient  # type: ignore[attr-defined]
        return when(error, attempt) if wants_attempt else when(error)

    return ask
