"""Steps around a step: tried again, with a state, or watched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from stepwire import _requests, _values, _watching
from stepwire._building import Inner, flow
from stepwire._flow import Flow
from stepwire._functions import STATE, WHEN, WHEN_ERROR, Functions, Manner, takes_two
from stepwire._requests import StepLike
from stepwire.v1 import step_run_pb2
from stepwire.v1.step_run_pb2 import Step

Emitted: TypeAlias = Literal["fail", "buffer", "restart"]

_EMITTED = {
    "fail": step_run_pb2.RETRY_EMITTED_FAIL,
    "buffer": step_run_pb2.RETRY_EMITTED_BUFFER,
    "restart": step_run_pb2.RETRY_EMITTED_RESTART,
}


def with_retry(
    step: StepLike,
    *,
    max_attempts: int = 3,
    backoff: StepLike | None = None,
    when: StepLike | None = None,
    emitted: Emitted = "fail",
    initial_delay_s: float | None = None,
    multiplier: float | None = None,
    max_delay_s: float | None = None,
    jitter: float | None = None,
) -> Flow:
    """Run a step again when it fails.

        steps.with_retry("fetch", when=lambda error, attempt: error.is_transient, backoff=lambda n: 100 * 2**n)

    Args:
        step: What to run.
        max_attempts: How often at most, the first time included, 1 to 10.
        backoff: A function of the attempt, 0 for the first, to milliseconds; in place of the four delays below.
        when: A function of an `errors.Error` and, if it takes two, the attempt, 1 for the first: whether to try again.
            A step that is no function of this program gets both in an object. None: `error.is_transient`.
        emitted: What to do when it fails after it has made results: `fail`; `buffer` holds results back until it has
            come to its end; `restart` gives them at once, and an event of `run_events`, the only call to allow it,
            says that they no longer hold.
        initial_delay_s: Seconds before the second attempt; None for 1.
        multiplier: By which the wait grows; None for 2.
        max_delay_s: The longest wait; None for 60.
        jitter: The part by which a wait may differ, 0 to 1; None for 0.2.
    """

    def make(inner: Inner) -> Step:
        made = step_run_pb2.RetryStep(
            step=inner(step),
            max_attempts=max_attempts,
            multiplier=multiplier,
            jitter=jitter,
            backoff=inner(backoff),
            when=inner(when, WHEN if takes_two(when) else WHEN_ERROR),
            emitted=_requests.choice("emitted", emitted, _EMITTED),
        )
        if initial_delay_s is not None:
            made.initial_delay.FromTimedelta(timedelta(seconds=initial_delay_s))
        if max_delay_s is not None:
            made.max_delay.FromTimedelta(timedelta(seconds=max_delay_s))
        return Step(retry=made)

    return flow(make)


def with_state(initial_state: Any, step: StepLike) -> Flow:
    """Call a function with each value and a state, which it hands on to the next value.

        steps.with_state(0, lambda x, total: (x + total, x + total))  # running sums

    Args:
        initial_state: The state before the first value, in each run anew.
        step: A function of input and state. It returns a pair of one output and the new state, or
            `{"outputs": [...], "state": ...}`. A step that is no function of this program gets an object of both.
    """
    return stateful(initial_state, step, STATE)


def stateful(initial_state: Any, step: StepLike, manner: Manner) -> Flow:
    """As `with_state`; a function is called in this manner."""
    return flow(
        lambda inner: Step(
            state=step_run_pb2.StateStep(step=inner(step, manner), initial_state=_values.to_value(initial_state))
        )
    )


def with_events(
    step: StepLike,
    *,
    on_start: Callable[[Any], object] | None = None,
    on_result: Callable[[Any], object] | None = None,
    on_complete: Callable[[], object] | None = None,
    on_error: Callable[[Any], object] | None = None,
) -> Flow:
    """Run a step and tell functions of this program what happens at it, one at a time.

    They are called before the caller of the run sees what comes next, so a slow one slows the run. What one raises ends
    the run and is raised there. Values of more than 4 KiB, vectors and bytes are told as None. Only so many events wait
    for them, and those beyond are lost: of many quick items, not every input and value is told, but always the end.
    Results are never lost.

    Args:
        step: What to run.
        on_start: Gets each input.
        on_result: Gets each value that it makes.
        on_complete: Called once, after the last input, also after items that failed, be it that one has ended the run;
            not if the run is cancelled, or the call itself fails.
        on_error: Gets the `errors.Error` of each item that fails in it.
    """

    def make(functions: Functions, manner: Manner) -> Step:
        made = _requests.step(step, functions, manner)
        marked = Step()
        marked.CopyFrom(made)
        watcher = _watching.Watcher(on_start, on_result, on_complete, on_error)
        _watching.mark(marked, functions, watcher)
        return marked

    return Flow(make)
