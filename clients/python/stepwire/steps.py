"""Steps, written in Python: each function here makes one, to be run by a client or to stand within another.

    from stepwire import Client, steps

    with Client("localhost:50051") as client:
        double = steps.map(lambda x: x * 2).on(client)
        print(double.start_blocking([1, 2, 3]))  # [2, 4, 6]

Where a step is wanted, there may be the name of one, its JSON, a `stepwire.Step`, what a function of this module made,
or a function of this program. Such a function is called here, in this program, with the value as JSON; what it returns
is the one result, a list too, and what a generator yields are results one by one. A coroutine runs in the client's
event loop and is cancelled with its run; anything else runs in a thread, and what it still returns then is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias, overload

from stepwire import _requests, _values, _watching
from stepwire._flow import AsyncFlow, BlockingFlow, Flow
from stepwire._functions import PLAIN, STATE, WHEN, Functions, Manner
from stepwire._requests import OptionsLike, StepLike
from stepwire.v1 import step_run_pb2
from stepwire.v1.step_run_pb2 import Step

__all__ = [
    "AsyncFlow",
    "BlockingFlow",
    "Flow",
    "StepLike",
    "chat",
    "choice",
    "compose",
    "create_step",
    "embed",
    "filter",
    "function",
    "gather",
    "javascript",
    "map",
    "named",
    "parallel",
    "render",
    "search",
    "spread",
    "take",
    "timeout",
    "with_events",
    "with_retry",
    "with_state",
]

Emitted: TypeAlias = Literal["fail", "buffer", "restart"]

_EMITTED = {
    "fail": step_run_pb2.RETRY_EMITTED_FAIL,
    "buffer": step_run_pb2.RETRY_EMITTED_BUFFER,
    "restart": step_run_pb2.RETRY_EMITTED_RESTART,
}


class _Inner(Protocol):
    @overload
    def __call__(self, value: StepLike, manner: Manner = PLAIN) -> Step: ...

    @overload
    def __call__(self, value: StepLike | None, manner: Manner = PLAIN) -> Step | None: ...


def named(name: str) -> Flow:
    """Run the step of this name, `name@version` for a certain version: a built-in one, a pipeline, a worker's."""
    return _flow(lambda _: Step(named=name))


def javascript(source: str) -> Flow:
    """Call a function in JavaScript, which the server runs by itself: `steps.javascript("(x) => x * 2")`."""
    return _flow(lambda _: Step(javascript=source))


def function(called: Callable[..., Any]) -> Flow:
    """Call a function of this program. Only needed to give it options, as any step takes it as it is."""
    return Flow(lambda functions, manner: functions.step(called, manner))


def compose(steps: Sequence[StepLike]) -> Flow:
    """Run steps one after the other, each result of one being an input of the next. None: the value passes."""
    return _flow(lambda inner: Step(compose=step_run_pb2.ComposeStep(steps=[inner(each) for each in steps])))


def map(step: StepLike, *, max_concurrency: int | None = None) -> Flow:  # noqa: A001
    """Run a step on each item of a list, in order; a failure stays with its item.

    Args:
        step: What to run.
        max_concurrency: How many items are worked on at once, 1 to 256. None: as `step` itself says, or one.
    """

    def make(inner: _Inner) -> Step:
        within = Step()
        within.CopyFrom(inner(step))
        if max_concurrency is not None:
            within.max_concurrency = max_concurrency
        return Step(map=step_run_pb2.MapStep(step=within))

    return _flow(make)


def parallel(step: StepLike, *, max_concurrency: int = 4, as_completed: bool = False, fail_fast: bool = False) -> Flow:
    """Run a step on each item of a list, side by side.

    Args:
        step: What to run.
        max_concurrency: How many items are worked on at once, 1 to 256.
        as_completed: Give results as they come, not in the order of the items.
        fail_fast: At the first item that fails, cancel the others.
    """
    return _flow(
        lambda inner: Step(
            parallel=step_run_pb2.ParallelStep(
                step=inner(step), max_concurrency=max_concurrency, as_completed=as_completed, fail_fast=fail_fast
            )
        )
    )


def spread() -> Flow:
    """Turn a list into its items."""
    return _flow(lambda _: Step(spread=step_run_pb2.SpreadStep()))


def gather() -> Flow:
    """Wait for all values of the step before it and make one list of them."""
    return _flow(lambda _: Step(gather=step_run_pb2.GatherStep()))


def take(count: int) -> Flow:
    """Pass on the first values, and then end everything before it."""
    return _flow(lambda _: Step(take=step_run_pb2.TakeStep(count=count)))


def filter(where: StepLike) -> Flow:  # noqa: A001
    """Pass on the values that a function says True to."""
    return _flow(lambda inner: Step(filter=step_run_pb2.FilterStep(where=inner(where))))


def choice(*cases: tuple[StepLike, StepLike], otherwise: StepLike | None = None) -> Flow:
    """Run the first step whose condition holds; if none does and there is no `otherwise`, there is no result.

        steps.choice((lambda x: x > 0, "upper"), otherwise="lower")

    Args:
        cases: Pairs of a function that says True or False, and a step.
        otherwise: What to run if no condition holds.
    """

    def make(inner: _Inner) -> Step:
        made = [step_run_pb2.ChoiceCase(when=inner(when), then=inner(then)) for when, then in cases]
        return Step(choice=step_run_pb2.ChoiceStep(cases=made, otherwise=inner(otherwise)))

    return _flow(make)


def timeout(step: StepLike, limit_s: float) -> Flow:
    """Give a step only so many seconds for each input; then it is cancelled, and fails with `STEP_TIMEOUT`."""
    return _flow(
        lambda inner: Step(timeout=step_run_pb2.TimeoutStep(step=inner(step), limit=timedelta(seconds=limit_s)))
    )


def create_step(
    *,
    input: StepLike | None = None,  # noqa: A002
    process: StepLike | None = None,
    output: StepLike | None = None,
) -> Flow:
    """Run a step between two others.

    Args:
        input: Prepares the input; None passes it unchanged, as with the others.
        process: Does the work.
        output: Finishes each result.
    """
    return _flow(
        lambda inner: Step(
            process=step_run_pb2.ProcessStep(pre=inner(input), process=inner(process), post=inner(output))
        )
    )


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
        when: A function of an `errors.Error` and the attempt, 1 for the first: whether to try again. A step that is no
            function of this program gets both in an object. None: `error.is_transient`.
        emitted: What to do when it fails after it has made results: `fail`; `buffer` holds results back until it has
            come to its end; `restart` gives them at once, and an event says that they no longer hold.
        initial_delay_s: Seconds before the second attempt; None for 1.
        multiplier: By which the wait grows; None for 2.
        max_delay_s: The longest wait; None for 60.
        jitter: The part by which a wait may differ, 0 to 1; None for 0.2.
    """

    def make(inner: _Inner) -> Step:
        made = step_run_pb2.RetryStep(
            step=inner(step),
            max_attempts=max_attempts,
            multiplier=multiplier,
            jitter=jitter,
            backoff=inner(backoff),
            when=inner(when, WHEN),
            emitted=_requests.choice("emitted", emitted, _EMITTED),
        )
        if initial_delay_s is not None:
            made.initial_delay.FromTimedelta(timedelta(seconds=initial_delay_s))
        if max_delay_s is not None:
            made.max_delay.FromTimedelta(timedelta(seconds=max_delay_s))
        return Step(retry=made)

    return _flow(make)


def with_state(initial_state: Any, step: StepLike) -> Flow:
    """Call a function with each value and a state, which it hands on to the next value.

        steps.with_state(0, lambda x, total: (x + total, x + total))  # running sums

    Args:
        initial_state: The state before the first value, in each run anew.
        step: A function of input and state. It returns a pair of one output and the new state, or
            `{"outputs": [...], "state": ...}`. A step that is no function of this program gets an object of both.
    """
    return _flow(
        lambda inner: Step(
            state=step_run_pb2.StateStep(step=inner(step, STATE), initial_state=_values.to_value(initial_state))
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
    the run and is raised there. Values of more than 4 KiB, vectors and bytes are told as None.

    Args:
        step: What to run.
        on_start: Gets each input.
        on_result: Gets each value that it makes.
        on_complete: Called once, after the last input, also after errors; not if the run is cancelled.
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


def chat(
    model: str = "",
    *,
    system: str = "",
    options: OptionsLike | None = None,
    emit: Literal["message", "deltas"] = "message",
) -> Flow:
    """Ask a model for a reply to a text, a message, a list of messages, or the fields of a chat request.

    Args:
        model: Name or alias of a model; empty for the server's default.
        system: What the model is told first.
        options: How to answer.
        emit: What the results are: the whole `message`, or each piece of its text as it comes.
    """
    emits = {"message": step_run_pb2.CHAT_EMIT_MESSAGE, "deltas": step_run_pb2.CHAT_EMIT_DELTAS}
    return _flow(
        lambda _: Step(
            chat=step_run_pb2.ChatStep(
                model=model,
                system=system,
                options=_requests.options(options),
                emit=_requests.choice("emit", emit, emits),
            )
        )
    )


def embed(model: str = "") -> Flow:
    """Turn a text into a vector, or a list of texts into one for each."""
    return _flow(lambda _: Step(embed=step_run_pb2.EmbedStep(model=model)))


def search(top_k: int | None = None, *, model: str = "") -> Flow:
    """Rank documents: `{"query": …, "documents": […]}` results in one `{"index", "score", "text"}` for each hit."""
    return _flow(lambda _: Step(search=step_run_pb2.SearchStep(top_k=top_k, model=model)))


def render(template: str) -> Flow:
    """Fill a template: `{{a.b}}` stands for a field of the value and `{{.}}` for the whole."""
    return _flow(lambda _: Step(render=step_run_pb2.RenderStep(template=template)))


def _flow(make: Callable[[_Inner], Step]) -> Flow:
    """Make a flow of what needs to know its inner steps only."""

    def full(functions: Functions, _: Manner) -> Step:
        @overload
        def inner(value: StepLike, manner: Manner = PLAIN) -> Step: ...

        @overload
        def inner(value: StepLike | None, manner: Manner = PLAIN) -> Step | None: ...

        def inner(value: StepLike | None, manner: Manner = PLAIN) -> Step | None:
            return None if value is None else _requests.step(value, functions, manner)

        return make(inner)

    return Flow(full)
