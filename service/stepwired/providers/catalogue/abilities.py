"""Refuses what a model cannot do, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator

from stepwired.errors import Failure, InvalidRequest, Reason, Violation
from stepwired.events import ChatRequest
from stepwired.providers import faults
from stepwired.providers.base import ModelEntry

_WANTS = {
    "tools": "call tools",
    "json_schema": "be held to a format",
    "reasoning": "be told how much to think",
    "logprobs": "tell probabilities",
}


def refusal(model: ModelEntry, request: ChatRequest) -> Failure | None:
    """Why this model cannot answer this request, with every field that would have to change; None if it can.

    Only what is known to be lacking is refused: of a model without `abilities`, just images.
    """
    if not sees(model) and any(message.images for message in request.messages):
        return faults.unsupported(model.name, "images", f"{model.name} cannot look at images")
    if not model.chooses_tools and _leaves_choice(request):
        text = f"{model.name} cannot decide by itself to call a tool: say `required`, `none`, or the name of one"
        violation = Violation("options.tool_choice", text, Reason.MODEL_FEATURE_UNSUPPORTED)
        facts = {"model": model.name, "feature": "tools"}
        return InvalidRequest(violation.reason, f"{violation.field}: {text}", metadata=facts, violations=[violation])
    lacking = list(_lacking(model, request))
    if lacking:
        violations = [_violation(model, ability, field) for ability, field in lacking]
        facts = {"model": model.name, "feature": lacking[0][0]}
        text = f"{violations[0].field}: {violations[0].description}"
        return InvalidRequest(Reason.MODEL_FEATURE_UNSUPPORTED, text, metadata=facts, violations=violations)
    return _too_long(model, request.options.max_tokens)


def _leaves_choice(request: ChatRequest) -> bool:
    """Whether the model is to decide about a tool. Once it has an answer of one, such a model goes on in words."""
    is_answered = bool(request.messages) and request.messages[-1].tool_result is not None
    return bool(request.options.tools) and request.options.tool_choice in {"", "auto"} and not is_answered


def sees(model: ModelEntry) -> bool:
    """Whether it can look at images: where nobody says so, it cannot."""
    return model.images or "images" in (model.abilities or ())


def abilities(model: ModelEntry) -> tuple[str, ...]:
    """What it can do, as far as known."""
    known = model.abilities or ()
    return ("images", *known) if model.images and "images" not in known else known


def _lacking(model: ModelEntry, request: ChatRequest) -> Iterator[tuple[str, str]]:
    """Each ability that the options need and the model lacks, with the option."""
    if model.abilities is None:
        return
    options = request.options
    wanted = (
        ("tools", "tools", bool(options.tools)),
        ("json_schema", "response_format", options.response_format is not None),
        ("reasoning", "reasoning_effort", options.reasoning_effort not in {"", "none"}),
        ("logprobs", "top_logprobs", options.top_logprobs is not None),
    )
    for ability, field, is_wanted in wanted:
        if is_wanted and ability not in model.abilities:
            yield ability, field


def _violation(model: ModelEntry, ability: str, field: str) -> Violation:
    text = f"{model.name} cannot {_WANTS[ability]}"
    return Violation(f"options.{field}", text, Reason.MODEL_FEATURE_UNSUPPORTED)


def _too_long(model: ModelEntry, max_tokens: int | None) -> Failure | None:
    limits = [limit for limit in (model.max_output_tokens, model.context_length) if limit is not None]
    if max_tokens is None or not limits or max_tokens <= min(limits):
        return None
    text = f"is {max_tokens}, and {model.name} writes at most {min(limits)}"
    violation = Violation("options.max_tokens", text, Reason.MAX_TOKENS_TOO_LARGE)
    return InvalidRequest(
        Reason.MAX_TOKENS_TOO_LARGE,
        f"options.max_tokens: {text}",
        metadata={"limitTokens": str(min(limits))},
        violations=[violation],
    )
