"""Refuses what may take results back, where nothing would tell of it."""

from __future__ import annotations

from collections.abc import Iterable

from stepwire import _watching, errors
from stepwire.v1 import chat_pb2, step_run_pb2

_WHY = (
    "what begins again after it has given results cannot be used here, as nothing would tell that these no longer "
    "hold: `run_events` does, and `stream_chat` for a chat"
)


def refuse(steps: Iterable[step_run_pb2.Step]) -> None:
    """Refuse steps that may begin again.

    Raises:
        errors.InvalidRequest: There is one.
    """
    for path, step in _watching.places(steps):
        if step.retry.emitted == step_run_pb2.RETRY_EMITTED_RESTART or (
            step.chat.emit == step_run_pb2.CHAT_EMIT_DELTAS and _may_restart(step.chat.options)
        ):
            raise refused(path)


def refused(path: str) -> errors.InvalidRequest:
    """Make the error of a run that has begun again, or may, at this step."""
    return errors.InvalidRequest(
        f"{path}: {_WHY}",
        code="INVALID_ARGUMENT",
        reason="STEP_GRAPH_INVALID",
        violations=[errors.Violation(path, _WHY, "STEP_GRAPH_INVALID")],
    )


def _may_restart(options: chat_pb2.ChatOptions) -> bool:
    return options.restart or options.response_format.retry
