"""The failures of a provider that answers too late, too much, wrongly or not at all, each told in one way."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stepwired.errors import Failure, InvalidRequest, Misconfigured, Reason, Subject, Throttled, Unavailable, Violation

_LATE = {"connect": "did not take a connection", "first_byte": "did not answer", "total": "did not finish"}


def late(provider: str, phase: str, timeout_s: float) -> Failure:
    """It let a phase's time pass: `connect`, `first_byte` or `total`."""
    facts = {"provider": provider, "phase": phase, "timeoutMs": str(round(timeout_s * 1000))}
    return Unavailable(Reason.PROVIDER_TIMEOUT, f"{provider} {_LATE[phase]} within {timeout_s:g} s", metadata=facts)


def silent(provider: str, idle_s: float) -> Failure:
    """It began an answer and sends no more of it."""
    facts = {"provider": provider, "timeoutMs": str(round(idle_s * 1000))}
    text = f"{provider} fell silent for {idle_s:g} s in the middle of its answer"
    return Unavailable(Reason.PROVIDER_STREAM_STALLED, text, metadata=facts)


def truncated(provider: str) -> Failure:
    """Its answer ended before it was whole, whether cleanly or not."""
    text = f"{provider} broke off in the middle of its answer"
    return Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, text, metadata={"provider": provider})


def too_large(provider: str, what: str, limit_bytes: int) -> Failure:
    """It sent more of `what` than is read."""
    facts = {"provider": provider, "limitBytes": str(limit_bytes)}
    text = f"{provider} sent {what} of more than {limit_bytes} bytes"
    return Throttled(Reason.PROVIDER_RESPONSE_TOO_LARGE, text, metadata=facts)


def compressed(provider: str, limit_bytes: int) -> Failure:
    """It compressed its answer though it was asked not to: unpacked, it may have any size."""
    facts = {"provider": provider, "limitBytes": str(limit_bytes)}
    text = f"{provider} compressed its answer, which it was asked not to do"
    return Throttled(Reason.PROVIDER_RESPONSE_TOO_LARGE, text, metadata=facts)


def nonsense(provider: str, what: str) -> Failure:
    """It does not keep to HTTP or to the wire format; `what` completes the sentence."""
    return Unavailable(Reason.PROVIDER_PROTOCOL_ERROR, f"{provider} {what}", metadata={"provider": provider})


def unreachable(provider: str, what: str) -> Failure:
    """There was no answer at all; `what` is the sentence."""
    return Unavailable(
        Reason.PROVIDER_UNREACHABLE, what, metadata={"provider": provider}, subject=Subject("provider", provider)
    )


def redirected(provider: str, status: int) -> Failure:
    """It pointed elsewhere. Keys are not sent on."""
    text = f"{provider} points elsewhere, which is not followed: correct its base_url"
    facts = {"provider": provider, "httpStatus": str(status)}
    return _misconfigured(Reason.PROVIDER_REDIRECT_REFUSED, provider, text, facts)


def untrusted(provider: str) -> Failure:
    """Its certificate, or the TLS handshake, is not to be trusted."""
    text = f"the TLS certificate or handshake of {provider} is not valid"
    return _misconfigured(Reason.PROVIDER_TLS_INVALID, provider, text, {"provider": provider})


def unconfigured(provider: str, what: str) -> Failure:
    """What the configuration says of it cannot be used; `what` says why."""
    return _misconfigured(Reason.PROVIDER_NOT_CONFIGURED, provider, what, {"provider": provider})


def unsupported(model: str, feature: str, what: str, field: str = "model") -> Failure:
    """It cannot do what is asked, and is not asked without it; `what` is the sentence, `field` what has to change."""
    return InvalidRequest(
        Reason.MODEL_FEATURE_UNSUPPORTED,
        what,
        metadata={"model": model, "feature": feature},
        violations=[Violation(field, what, Reason.MODEL_FEATURE_UNSUPPORTED)],
    )


def unsupported_all(model: str, wrong: Iterable[tuple[str, str]]) -> InvalidRequest:
    """It cannot do what these fields ask for, each with why; at least one, in the order of the request."""
    reason = Reason.MODEL_FEATURE_UNSUPPORTED
    failure = InvalidRequest.of([Violation(field, why, reason) for field, why in wrong])
    option = re.fullmatch(r"options\.(\w+).*", failure.violations[0].field)
    failure.metadata.update(model=model, feature=option[1] if option else "images")
    return failure


def _misconfigured(reason: Reason, provider: str, text: str, facts: dict[str, str]) -> Failure:
    return Misconfigured(reason, text, metadata=facts, subject=Subject("provider", provider))
