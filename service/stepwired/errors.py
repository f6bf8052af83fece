"""What can go wrong, named for the person who has to react to it.

    Failure
    ├── InvalidRequest       fix the request
    ├── NotFound             fix the name
    ├── Conflict             look at what is there, then decide
    ├── Misconfigured        the operator of the server has to act: a key, an account, a model file
    ├── Throttled            ask for less, or later: a limit was reached
    ├── Unavailable          try again: it may work in `retry_after_s`
    ├── StepFailed           a step's own code failed: look at the step
    └── Broken               report it; a retry will not help

Nothing here knows about gRPC or HTTP: `rpc.status` holds the one table that does. A class exists for each
reaction, a `Reason` for each cause; the wire's status code follows from the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Self


class Reason(StrEnum):
    """Why a call failed, as programs read it. The same names as `error_reason.proto`, which documents each."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name

    MALFORMED_REQUEST = auto()
    FIELD_REQUIRED = auto()
    FIELD_INVALID = auto()
    INVALID_MESSAGE = auto()
    INVALID_CONVERSATION = auto()
    INVALID_TIME = auto()
    INVALID_METADATA = auto()
    INVALID_INPUT_TEXT = auto()
    INVALID_PAGE_TOKEN = auto()
    MODEL_CONFIG_INVALID = auto()
    MODEL_FEATURE_UNSUPPORTED = auto()
    CONTEXT_LENGTH_EXCEEDED = auto()

    CONVERSATION_NOT_FOUND = auto()
    MESSAGE_NOT_FOUND = auto()
    MODEL_NOT_FOUND = auto()

    CONVERSATION_EXISTS = auto()
    MESSAGE_ID_EXISTS = auto()

    RESPONSE_TOO_LARGE = auto()
    CONCURRENCY_LIMITED = auto()
    SERVER_DRAINING = auto()
    SLOW_CONSUMER = auto()
    SLOW_PRODUCER = auto()

    PROVIDER_API_KEY_INVALID = auto()
    PROVIDER_NOT_CONFIGURED = auto()
    PROVIDER_PERMISSION_DENIED = auto()
    PROVIDER_ACCOUNT_PROBLEM = auto()
    PROVIDER_RATE_LIMITED = auto()
    PROVIDER_QUOTA_EXHAUSTED = auto()
    PROVIDER_OVERLOADED = auto()
    PROVIDER_ERROR = auto()
    PROVIDER_REJECTED_REQUEST = auto()
    PROVIDER_REQUEST_TOO_LARGE = auto()
    CONTENT_BLOCKED = auto()
    PROVIDER_UNREACHABLE = auto()
    PROVIDER_TLS_INVALID = auto()
    PROVIDER_TIMEOUT = auto()
    PROVIDER_STREAM_STALLED = auto()
    PROVIDER_STREAM_TRUNCATED = auto()
    PROVIDER_PROTOCOL_ERROR = auto()
    PROVIDER_RESPONSE_TOO_LARGE = auto()
    PROVIDER_REDIRECT_REFUSED = auto()
    MODEL_LOAD_FAILED = auto()
    MODEL_LOADING = auto()

    STEP_GRAPH_INVALID = auto()
    STEP_INPUT_INVALID = auto()
    STEP_OUTPUT_INVALID = auto()
    STEP_EXECUTION_FAILED = auto()
    STEP_LIMIT_EXCEEDED = auto()

    STORE_CONFLICT = auto()
    STORE_UNAVAILABLE = auto()
    STORE_FULL = auto()
    STORE_IO_ERROR = auto()
    STORE_CORRUPT = auto()
    STORE_VERSION_UNSUPPORTED = auto()

    INTERNAL_CANCELLED = auto()
    INTERNAL = auto()

    REVISION_MISMATCH = auto()
    REQUEST_ID_MISMATCH = auto()
    FEED_COMPACTED = auto()
    INVALID_FILTER = auto()
    UNSUPPORTED_IMAGE_FORMAT = auto()
    IMAGE_TOO_LARGE = auto()
    IMAGE_DECODE_FAILED = auto()
    IMAGE_URL_UNAVAILABLE = auto()
    FILE_ACCESS_DENIED = auto()
    FILE_NOT_FOUND = auto()
    BLOB_NOT_FOUND = auto()

    STEP_EXISTS = auto()
    STEP_TIMEOUT = auto()
    WORKER_LOST = auto()
    NO_WORKER = auto()
    PIPELINE_NOT_FOUND = auto()
    PIPELINE_EXISTS = auto()
    TOOL_NOT_ALLOWED = auto()
    STRUCTURED_OUTPUT_INVALID = auto()
    MAX_TOKENS_TOO_LARGE = auto()
    REQUEST_IN_PROGRESS = auto()
    PROVIDER_CALLER_KEY_INVALID = auto()


#: The reasons for which trying again may help, with the seconds to wait where nobody named any.
_RETRY_AFTER_S: Mapping[Reason, float] = {
    Reason.CONCURRENCY_LIMITED: 1.0,
    Reason.SERVER_DRAINING: 1.0,
    Reason.PROVIDER_RATE_LIMITED: 5.0,
    Reason.PROVIDER_OVERLOADED: 2.0,
    Reason.PROVIDER_ERROR: 1.0,
    Reason.PROVIDER_UNREACHABLE: 1.0,
    Reason.PROVIDER_TIMEOUT: 1.0,
    Reason.PROVIDER_STREAM_STALLED: 1.0,
    Reason.PROVIDER_STREAM_TRUNCATED: 1.0,
    Reason.MODEL_LOADING: 1.0,
    Reason.STORE_CONFLICT: 0.1,
    Reason.STORE_UNAVAILABLE: 1.0,
    Reason.INTERNAL_CANCELLED: 0.1,
    Reason.WORKER_LOST: 1.0,
    Reason.NO_WORKER: 1.0,
    Reason.REQUEST_IN_PROGRESS: 1.0,
}

#: Reasons that would fail for each input alike, so that a run stops at the first.
ABORTS_A_RUN = frozenset(
    {
        Reason.PROVIDER_API_KEY_INVALID,
        Reason.PROVIDER_CALLER_KEY_INVALID,
        Reason.PROVIDER_NOT_CONFIGURED,
        Reason.PROVIDER_ACCOUNT_PROBLEM,
        Reason.PROVIDER_PERMISSION_DENIED,
        Reason.PROVIDER_TLS_INVALID,
        Reason.PROVIDER_QUOTA_EXHAUSTED,
        Reason.MODEL_NOT_FOUND,
        Reason.MODEL_LOAD_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that has to change."""

    field: str
    """Path from the request, as in `messages[2].role`."""

    description: str
    """What is wrong and what would be right; names the value where it is short and no secret."""

    reason: Reason = Reason.FIELD_INVALID


@dataclass(frozen=True, slots=True)
class Subject:
    """The thing a failure is about: what is missing, exhausted or misconfigured."""

    kind: str
    """Such as `conversation`, `model`, `provider`, `store`."""

    name: str


class Failure(Exception):
    """Anything this service tells a caller went wrong. `str()` of it is for people and holds no secret.

    Attributes:
        reason: The cause, for programs.
        metadata: Facts about the cause, keys in lowerCamelCase, as `error_reason.proto` documents them.
        retry_after_s: Seconds after which trying again may help; None where it will not.
        told_to_wait_s: The same, if whoever failed named it; None if it is only our guess.
        violations: The fields to change, all of them, in the order of the request.
        subject: What the failure is about, if it is about one thing.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        violations: Iterable[Violation] = (),
        subject: Subject | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after_s = _RETRY_AFTER_S.get(reason) if retry_after_s is None else retry_after_s
        self.told_to_wait_s = retry_after_s
        self.violations = tuple(violations)
        self.subject = subject

    def again(self) -> Self:
        """The same failure for one more who meets it. Each needs its own: runs write into it where it was met, and
        each raise adds to its traceback, and so to what it keeps alive.
        """
        fresh = type(self).__new__(type(self), *self.args)
        vars(fresh).update(vars(self), metadata=dict(self.metadata))
        return fresh

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later, unchanged."""
        return self.retry_after_s is not None

    @property
    def aborts_a_run(self) -> bool:
        """Whether each further input of a run would fail the same way."""
        return self.reason in ABORTS_A_RUN


class InvalidRequest(Failure):
    """The request has to change; `violations` says where."""

    @classmethod
    def of(cls, violations: Iterable[Violation]) -> InvalidRequest:
        """All faults of one request at once: the reason is that of the first.

        Args:
            violations: At least one, in the order of the request.
        """
        found = tuple(violations)
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return cls(first.reason, f"{first.field}: {first.description}{more}", violations=found)


class NotFound(Failure):
    """What was named does not exist."""


class Conflict(Failure):
    """What is stored and what was asked contradict each other."""


class Misconfigured(Failure):
    """The server cannot do this until its operator changes something."""


class Throttled(Failure):
    """A limit was reached: the provider's, ours, or the machine's."""


class Unavailable(Failure):
    """Something this call needs did not answer, or not properly."""


class StepFailed(Failure):
    """The code of a step raised, or made something that no result can hold."""


class Broken(Failure):
    """A defect of this service, or of what it stored."""
