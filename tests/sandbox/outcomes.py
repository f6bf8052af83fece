"""Outcomes of calls, short enough to be compared."""

from __future__ import annotations

from collections.abc import Sequence

from stepwired.errors import Failure, Reason
from stepwired.events import Json

TIME = "function_s"
MEMORY = "function_memory_bytes"
STACK = "function_stack_bytes"
INPUT = "function_input_bytes"
OUTPUT = "function_output_bytes"
INVALID = "STEP_OUTPUT_INVALID"


def short(outcomes: Sequence[Json | Failure]) -> list[Json]:
    """Values as they are; of failures the limit, the type of what was thrown, or the reason."""
    return [_name(each) if isinstance(each, Failure) else each for each in outcomes]


def _name(failure: Failure) -> str:
    if failure.reason is Reason.STEP_LIMIT_EXCEEDED:
        return failure.metadata["limitName"]
    if failure.reason is Reason.STEP_EXECUTION_FAILED:
        return failure.metadata["errorType"]
    return failure.reason.value
