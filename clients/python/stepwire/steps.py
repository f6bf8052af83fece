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
from typing import Any, Literal

from stepwire import _requests
from stepwire._building import Inner, flow
from stepwire._flow import AsyncFlow, BlockingFlow, Flow
from stepwire._requests import OptionsLike, StepLike
from stepwire._wrapping import with_events, with_retry, with_state
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


def named(name: str) -> Flow:
    """Run the step of this name, `name@version` for a certain version: a built-in one, a pipeline, a worker's."""
    return flow(lambda _: Step(named=name))


def javascript(source: str) -> Flow:
    """Call a function in JavaScript, which the server runs by itself: `steps.javascript("(x) => x * 2")`."""
    return flow(lambda _: Step(javascript=source))


def function(called: Callable[..., Any]) -> Flow:
    """Call a function of this program. Only needed to give it options, as any step takes it as it is."""
    return Flow(lambda functions, manner: functions.step(called, manner))


def compose(steps: Sequence[StepLike]) -> Flow:
    """Run steps one after the other, each result of one being an input of the next. None: the value passes."""
    return flow(lambda inner: Step(compose=step_run_pb2.ComposeStep(steps=[inner(each) for each in steps])))


def map(step: StepLike, *, max_concurrency: int | None = None) -> Flow:  # noqa: A001
    """Run a step on each item of a list, in order; a failure stays with its item.

    Args:
        step: What to run.
        max_concurrency: How many items are worked on at once, 1 to 256. None: as `step` itself says, or one.
    """

    def make(inner: Inner) -> Step:
        within = Step()
        within.CopyFrom(inner(step))
        if max_concurrency is not None:
            within.max_concurrency = max_concurrency
        return Step(map=step_run_pb2.MapStep(step=within))

    return flow(make)


def parallel(step: StepLike, *, max_concurrency: int = 4, as_completed: bool = False, fail_fast: bool = False) -> Flow:
    """Run a step on each item of a list, side by side.

    Args:
        step: What to run.
        max_concurrency: How many items are worked on at once, 1 to 256.
        as_completed: Give results as they come, not in the order of the items.
        fail_fast: At the first item that fails, cancel the others.
    """
    return flow(
        lambda inner: Step(
            parallel=step_run_pb2.ParallelStep(
                step=inner(step), max_concurrency=max_concurrency, as_completed=as_completed, fail_fast=fail_fast
            )
        )
    )


def spread() -> Flow:
    """Turn a list into its items."""
    return flow(lambda _: Step(spread=step_run_pb2.SpreadStep()))


def gather() -> Flow:
    """Wait for all values of the step before it and make one list of them."""
    return flow(lambda _: Step(gather=step_run_pb2.GatherStep()))


def take(count: int) -> Flow:
    """Pass on the first values, and then end everything before it."""
    return flow(lambda _: Step(take=step_run_pb2.TakeStep(count=count)))


def filter(where: StepLike) -> Flow:  # noqa: A001
    """Pass on the values that a function says True to."""
    return flow(lambda inner: Step(filter=step_run_pb2.FilterStep(where=inner(where))))


def choice(*cases: tuple[StepLike, StepLike], otherwise: StepLike | None = None) -> Flow:
    """Run the first step whose condition holds; if none does and there is no `otherwise`, there is no result.

        steps.choice((lambda x: x > 0, "upper"), otherwise="lower")

    Args:
        cases: Pairs of a function that says True or False, and a step.
        otherwise: What to run if no condition holds.
    """

    def make(inner: Inner) -> Step:
        made = [step_run_pb2.ChoiceCase(when=inner(when), then=inner(then)) for when, then in cases]
        return Step(choice=step_run_pb2.ChoiceStep(cases=made, otherwise=inner(otherwise)))

    return flow(make)


def timeout(step: StepLike, limit_s: float) -> Flow:
    """Give a step only so many seconds for each input; then it is cancelled, and fails with `STEP_TIMEOUT`."""
    return flow(
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
    return flow(
        lambda inner: Step(
            process=step_run_pb2.ProcessStep(pre=inner(input), process=inner(process), post=inner(output))
        )
    )


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
    return flow(
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
    return flow(lambda _: Step(embed=step_run_pb2.EmbedStep(model=model)))


def search(top_k: int | None = None, *, model: str = "") -> Flow:
    """Rank documents: `{"query": …, "documents": […]}` results in one `{"index", "score", "text"}` for each hit."""
    return flow(lambda _: Step(search=step_run_pb2.SearchStep(top_k=top_k, model=model)))


def render(template: str) -> Flow:
    """Fill a template: `{{a.b}}` stands for a field of the value and `{{.}}` for the whole."""
    return flow(lambda _: Step(render=step_run_pb2.RenderStep(template=template)))
