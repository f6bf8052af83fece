"""Which failure is followed by what: how often the same model is asked again, and whether another one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepwired.errors import Reason


@dataclass(frozen=True, slots=True)
class Again:
    """How often the same model is asked again after a failure."""

    before: int
    """Before anything of the reply was passed on."""

    amid: int
    """After that, with `restart`; with that, as often before it, too."""


AGAIN: Mapping[Reason, Again] = {
    Reason.PROVIDER_RATE_LIMITED: Again(2, 2),
    Reason.PROVIDER_OVERLOADED: Again(2, 2),
    Reason.PROVIDER_ERROR: Again(2, 2),
    Reason.PROVIDER_UNREACHABLE: Again(2, 2),
    Reason.MODEL_LOADING: Again(2, 2),
    Reason.PROVIDER_TIMEOUT: Again(1, 0),
    Reason.PROVIDER_PROTOCOL_ERROR: Again(1, 1),
    Reason.PROVIDER_STREAM_TRUNCATED: Again(0, 2),
    Reason.PROVIDER_STREAM_STALLED: Again(0, 1),
}

#: Failures that another endpoint may not have: a fallback is asked. All others are of the request itself.
ELSEWHERE = frozenset(AGAIN) | {
    Reason.PROVIDER_QUOTA_EXHAUSTED,
    Reason.PROVIDER_API_KEY_INVALID,
    Reason.PROVIDER_NOT_CONFIGURED,
    Reason.PROVIDER_ACCOUNT_PROBLEM,
    Reason.PROVIDER_PERMISSION_DENIED,
    Reason.PROVIDER_TLS_INVALID,
    Reason.PROVIDER_REDIRECT_REFUSED,
    Reason.PROVIDER_RESPONSE_TOO_LARGE,
    Reason.MODEL_NOT_FOUND,
    Reason.MODEL_LOAD_FAILED,
}

#: Refusals of a request that another model may well take.
OF_ONE_MODEL = frozenset(
    {
        Reason.CONTEXT_LENGTH_EXCEEDED,
        Reason.MODEL_FEATURE_UNSUPPORTED,
        Reason.MAX_TOKENS_TOO_LARGE,
        Reason.PROVIDER_REQUEST_TOO_LARGE,
        Reason.PROVIDER_REJECTED_REQUEST,
        Reason.PROVIDER_CALLER_KEY_INVALID,
    }
)
