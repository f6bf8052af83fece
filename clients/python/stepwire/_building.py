"""Makes flows of steps that stand within others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, overload

from stepwire import _requests
from stepwire._flow import Flow
from stepwire._functions import PLAIN, Functions, Manner
from stepwire._requests import StepLike
from stepwire.v1.step_run_pb2 import Step


class Inner(Protocol):
    """Makes a step of what stands within another; `manner` is how it is called if it is a function of this program."""

    @overload
    def __call__(self, value: StepLike, manner: Manner = PLAIN) -> Step: ...

    @overload
    def __call__(self, value: StepLike | None, manner: Manner = PLAIN) -> Step | None: ...


def flow(make: Callable[[Inner], Step]) -> Flow:
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
