"""Tells what Ollama's refusals mean: it says the most of it in words."""

from __future__ import annotations

import re

from stepwired.errors import Failure, InvalidRequest, Misconfigured, NotFound, Reason, Subject, Violation
from stepwired.providers.refusing.refusals import Asked

_NOT_THERE = re.compile(r"model .{0,300}not found", re.IGNORECASE | re.DOTALL)
_NOT_LOADED = re.compile(
    r"requires more system memory|out of memory|(?:error|unable|failed).{0,20} load(?:ing)? (?:the )?model"
    r"|llama runner|runner process|model runner",
    re.IGNORECASE,
)
_NOT_ABLE = re.compile(r"does not support (tools|thinking|chat|images|vision)", re.IGNORECASE)
_NOT_THAT_MUCH = re.compile(r"think value .{1,40} is not supported|invalid think value", re.IGNORECASE)


def meant(asked: Asked, failure: Failure) -> Failure:
    """What a refusal means: Ollama says the most of it in words, whatever the status."""
    said, facts = failure.metadata.get("providerMessage", ""), failure.metadata
    model = Subject("model", asked.model)
    if _NOT_THERE.search(said):
        text = f"{asked.provider} has no model {asked.model}: it has to be pulled"
        return NotFound(Reason.MODEL_NOT_FOUND, text, metadata=facts | {"model": asked.model}, subject=model)
    if _NOT_LOADED.search(said):
        text = f"{asked.provider} could not load {asked.model}"
        return Misconfigured(Reason.MODEL_LOAD_FAILED, text, metadata=facts | {"model": asked.model}, subject=model)
    if (lacking := _NOT_ABLE.search(said)) is not None:
        text = f"{asked.model} does not support {lacking[1].lower()}"
        return InvalidRequest(Reason.MODEL_FEATURE_UNSUPPORTED, text, metadata=facts | {"feature": lacking[1].lower()})
    if _NOT_THAT_MUCH.search(said):
        text = f"{asked.model} cannot be told to think that much"
        violations = [Violation("options.reasoning_effort", text, Reason.MODEL_FEATURE_UNSUPPORTED)]
        facts = facts | {"feature": "reasoning"}
        return InvalidRequest(Reason.MODEL_FEATURE_UNSUPPORTED, text, metadata=facts, violations=violations)
    return failure
