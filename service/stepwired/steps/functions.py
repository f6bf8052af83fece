"""What steps need of whoever runs the JavaScript of callers: to be told what is no function, and to call one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stepwired.errors import Failure
from stepwired.events import Json


class Functions(Protocol):
    """Runs functions that callers wrote in JavaScript, outside of this process."""

    async def faults(self, sources: Sequence[str]) -> Sequence[str | None]:
        """Say of each source why it is no function; None where it is one.

        Costs a round trip for each source that was not seen lately. Runs none of it beyond what makes the function.

        Args:
            sources: Each one arrow function or function expression.

        Returns:
            One line for each source, such as `line 2: SyntaxError: unexpected token in expression: '}'`.

        Raises:
            Failure: No process can be had: SERVER_DRAINING, INTERNAL.
        """
        ...

    def run(self) -> FunctionRun:
        """Begin the calls of one run. Costs nothing before the first call; always given back to `aclose`."""
        ...


class FunctionRun(Protocol):
    """The functions of one run. What one of them does to its globals, no other function and no other run can see."""

    async def call(self, source: str, calls: Sequence[Sequence[Json]]) -> Sequence[Json | Failure]:
        """Call a function once for each list of arguments, in order.

        Any number of calls may be under way at once. Cancelling this frees what it used.

        Args:
            source: One arrow function or function expression.
            calls: The arguments of each call, values that `jsonvalue.fault` finds nothing in. As many calls at once as
                there are: 1,000 cost little more than one.

        Returns:
            For each call its value, or in its place why there is none: STEP_EXECUTION_FAILED where the function threw,
            STEP_LIMIT_EXCEEDED where a call took more time or memory than it may, or what goes in or out is too large,
            STEP_OUTPUT_INVALID where what it returned is no JSON. Values are such that `values.check` passes them.

        Raises:
            Failure: No process can be had: SERVER_DRAINING, INTERNAL.
        """
        ...

    async def aclose(self) -> None:
        """Drop whatever is kept for this run. Safe to call twice; there are no calls after it."""
        ...
