"""What the command says about a failed call, and the status it ends with."""

from __future__ import annotations

from typing import Any

from stepwire import errors

FAILED, WRONG_REQUEST, TRY_LATER, OPERATOR = 1, 2, 3, 4

_STATUS: tuple[tuple[type[errors.Error], int], ...] = (
    (errors.InvalidRequest, WRONG_REQUEST),
    (errors.NotFound, WRONG_REQUEST),
    (errors.Conflict, WRONG_REQUEST),
    (errors.Throttled, TRY_LATER),
    (errors.Unavailable, TRY_LATER),
    (errors.DeadlineExceeded, TRY_LATER),
    (errors.Misconfigured, OPERATOR),
    (errors.Denied, OPERATOR),
)

_TO_DO: tuple[tuple[type[errors.Error], str], ...] = (
    (errors.InvalidRequest, "Change the request."),
    (errors.NotFound, "Check the name."),
    (errors.Conflict, "Look at what is there, then decide."),
    (errors.Denied, "Ask whoever runs the server for access."),
    (errors.Misconfigured, "Whoever runs the server has to act; `stepwired check` explains its settings."),
    (errors.Throttled, "Ask for less."),
    (errors.Unavailable, "Try again."),
    (errors.DeadlineExceeded, "Ask for less, or allow more time."),
    (errors.StepFailed, "Look at the step's own code."),
    (errors.Cancelled, "Try again, if you still want it."),
    (errors.ServerError, "Report it, with the request id if there is one."),
)

_TO_DO_FOR_REASON = {
    "MODEL_NOT_FOUND": "`stepwire models` lists the models.",
    "CONVERSATION_NOT_FOUND": "Check the id; `stepwire conversations list` shows them, and `new` makes one.",
    "MESSAGE_NOT_FOUND": "Check the id; `stepwire conversations tree` shows the messages.",
    "PIPELINE_NOT_FOUND": "Check name and version; `stepwire pipelines list` shows them.",
    "PIPELINE_EXISTS": "Save it under a higher version, or under none to have one chosen.",
    "STEP_EXISTS": "Choose another name; `stepwire steps` lists those that are taken.",
    "STEP_GRAPH_INVALID": "Change the pipeline; `stepwire steps` lists the steps with a name.",
    "CONTEXT_LENGTH_EXCEEDED": "Send less text.",
    "PROVIDER_QUOTA_EXHAUSTED": "The server's account at the provider needs credit.",
    "MODEL_LOAD_FAILED": "Fetch the models where the server runs: stepwired models pull",
}


def exit_status(error: errors.Error) -> int:
    """Choose the status that says how a script should react."""
    if isinstance(error, errors.Throttled) and error.retry_after_s is None:
        return FAILED  # a limit that time does not lift
    return next((status for kind, status in _STATUS if isinstance(error, kind)), FAILED)


def of_file(error: OSError) -> int:
    """Choose the status for a file that cannot be used: wrong is one that the command line should not have named."""
    wrong = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
    return WRONG_REQUEST if isinstance(error, wrong) else FAILED


def explain(error: errors.Error, target: str) -> list[tuple[str, str]]:
    """List what helps, each with its label: the cause, the fields to change, what to do, the request id."""
    lines = [("reason", error.reason)] if error.reason else []
    lines += [("field", f"{fault.field}: {fault.description}") for fault in error.violations]
    if step := error.metadata.get("stepPath"):
        lines.append(("step", step))
    lines.append(("to do", _to_do(error, target)))
    if error.request_id:
        lines.append(("request", error.request_id))
    return lines


def as_json(error: errors.Error) -> dict[str, Any]:
    """Say the same for machines. Empty facts are left out."""
    facts = {
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
        "retryAfterSeconds": error.retry_after_s,
        "requestId": error.request_id,
        "metadata": error.metadata,
        "violations": [
            {"field": fault.field, "reason": fault.reason, "description": fault.description}
            for fault in error.violations
        ],
    }
    return {name: fact for name, fact in facts.items() if fact or fact == 0}


def _to_do(error: errors.Error, target: str) -> str:
    if isinstance(error, errors.Unavailable) and not error.reason:
        return f"Start a server with `stepwired serve`, or name another than {target} with --server."
    if error.retry_after_s is not None:
        return f"Try again in {error.retry_after_s:g} s."
    return _TO_DO_FOR_REASON.get(error.reason) or next(text for kind, text in _TO_DO if isinstance(error, kind))
