"""What calls fail with, named for the person who has to react to it.

    Error
    ├── InvalidRequest       fix the request; `violations` says where
    ├── NotFound             fix the name
    ├── Conflict             look at what is there, then decide
    ├── Denied               this caller may not do it
    ├── Misconfigured        the operator of the server has to act: a key, an account, a model file
    ├── Throttled            ask for less, or later
    ├── Unavailable          try again, after `retry_after_s` if it is set
    ├── StepFailed           a step's own code failed: look at the step
    ├── DeadlineExceeded     allow more time, or ask for less
    ├── Cancelled            somebody ended the call who is not its caller
    └── ServerError          report it with its `request_id`

A caller that cancels its own task sees `asyncio.CancelledError` there, as everywhere in Python. Exceptions
of gRPC never leave this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = [
    "Cancelled",
    "Conflict",
    "DeadlineExceeded",
    "Denied",
    "Error",
    "InvalidRequest",
    "Misconfigured",
    "NotFound",
    "ServerError",
    "StepFailed",
    "Throttled",
    "Unavailable",
    "Violation",
]


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that has to change."""

    field: str
    """Path from the request, as in `messages[2].role`."""

    description: str
    """What is wrong and what would be right."""

    reason: str = ""
    """The cause, for programs; a name of `ErrorReason` without its prefix."""


class Error(Exception):
    """A call, or one item of a stream, failed. Catch it for everything, a subclass for one reaction.

        try:
            print(client.chat("Say hello."))
        except errors.Unavailable as error:
            time.sleep(error.retry_after_s or 1)

    Attributes:
        message: The cause, for people. `str()` adds the reason and the request id.
        code: Name of the gRPC status, such as `NOT_FOUND`.
        reason: The cause, for programs: a name of `ErrorReason` without its prefix, such as `MODEL_NOT_FOUND`.
            Empty if no Stepwire server said one: the connection, a proxy or a deadline ended the call.
        retry_after_s: Seconds after which trying again may help; None where nobody said that it would.
        request_id: What the server's log calls this call; empty if the server never saw it.
        metadata: Facts about the cause, as `ErrorReason` documents them.
        violations: The fields to change, all of them, in the order of the request.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        retry_after_s: float | None = None,
        request_id: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[Violation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later, unchanged."""
        return self.retry_after_s is not None or (self.code == "UNAVAILABLE" and not self.reason)

    @property
    def name(self) -> str:
        """What handlers of the guide look at: `AbortError` where the call was cancelled, else `StepwireError`."""
        return "AbortError" if self.code == "CANCELLED" else "StepwireError"

    @property
    def isTransient(self) -> bool:  # noqa: N802  the guide's name
        """The guide's name of `is_transient`."""
        return self.is_transient

    def includes(self, text: str) -> bool:
        """Whether the message has `text` in it, as handlers of the guide ask.

        `rate limit`, `context length` and `invalid api key` are always worded so.
        """
        return text in self.message

    def __str__(self) -> str:
        facts = [self.reason or self.code]
        if self.request_id:
            facts.append(f"request {self.request_id}")
        return f"{self.message} ({', '.join(facts)})"


class InvalidRequest(Error):
    """The request has to change; `violations` says where."""


class NotFound(Error):
    """What was named does not exist."""


class Conflict(Error):
    """What is stored and what was asked contradict each other."""


class Denied(Error):
    """This caller may not do this."""


class Misconfigured(Error):
    """The server cannot do this until its operator changes something."""


class Throttled(Error):
    """A limit was reached: the provider's, the server's or the machine's."""


class Unavailable(Error):
    """The server, or something it needs, did not answer, or not properly. Trying again may help."""


class StepFailed(Error):
    """The code of a step raised."""


class DeadlineExceeded(Error):
    """The time this call was given is over, or a stream was silent for too long."""


class Cancelled(Error):
    """The call was ended by somebody else: the server, a proxy, or another thread that closed the client."""


class ServerError(Error):
    """A defect of the server, or a server of another version. A retry will not help."""


_BY_REASON: Mapping[str, type[Error]] = {
    "CONTENT_BLOCKED": InvalidRequest,  # the caller's text is what has to change
    "INTERNAL_CANCELLED": Unavailable,  # ABORTED on the wire, but nothing contradicts anything
    "PROVIDER_PERMISSION_DENIED": Misconfigured,  # the server's key lacks it, not this caller
    "STEP_EXECUTION_FAILED": StepFailed,
    "STEP_OUTPUT_INVALID": StepFailed,
}

_BY_CODE: Mapping[str, type[Error]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": Conflict,
    "ABORTED": Conflict,
    "UNAUTHENTICATED": Denied,
    "PERMISSION_DENIED": Denied,
    "FAILED_PRECONDITION": Misconfigured,
    "RESOURCE_EXHAUSTED": Throttled,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
}


def family(code: str, reason: str) -> type[Error]:
    """Name the class that stands for the reaction to `reason`, or to `code` where the reason is new or missing."""
    return _BY_REASON.get(reason) or _BY_CODE.get(code, ServerError)
