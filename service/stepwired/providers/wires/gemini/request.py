"""Writes requests of the Gemini wire. Equal requests give equal bytes, so that its prompt cache hits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stepwired.events import ChatOptions, ChatRequest, Image, Message, Role, Tool, ToolResult, ToolUse
from stepwired.providers.wires.gemini.thoughts import UNSIGNED, Signed, signed
from stepwired.providers.wires.history import base64_of, in_order, system_text

Part = dict[str, Any]

_encode = msgspec.json.encode
STOPS = 5
"""Most texts that it can be told to stop at."""

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

_MADE_UP = re.compile(r"call_\d+_\d+")
"""Ids that we made for calls that came without: they mean nothing to it."""

_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high"}
_THINKS_NOT = re.compile(r"gemini-(?:1|2\.0|pro)|gemma")
_BY_BUDGET = re.compile(r"gemini-2\.5")
_SIGNS_NOT = re.compile(r"gemini-[12]|gemini-pro|gemma")
"""Models that send no signatures with tool calls. All later ones refuse a turn's first call without one."""


def generate_body(request: ChatRequest, provider: str) -> bytes:
    """The JSON of a streamed reply.

    Args:
        request: What is asked, with the provider's name of the model.
        provider: The endpoint, whose own signatures go back to it.
    """
    options = request.options
    told = system_text(request)
    needs_signature = not _SIGNS_NOT.search(request.model)
    body: dict[str, Any] = {
        "systemInstruction": {"parts": [{"text": told}]} if told else None,
        "contents": contents(request.messages, provider, needs_signature=needs_signature),
        **_tools(options),
        "generationConfig": _config(request) or None,
    }
    return _encode({name: value for name, value in body.items() if value is not None})


def contents(messages: Iterable[Message], provider: str, *, needs_signature: bool = False) -> list[dict[str, Any]]:
    """Messages as the wire wants them: user and model by turns. System messages are elsewhere, thoughts stay here.

    Args:
        messages: As they are kept.
        provider: The endpoint.
        needs_signature: Whether calls that others made must be marked as such.
    """
    said: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in in_order(messages):
        if message.role is Role.SYSTEM:
            continue
        if message.tool_use is not None:
            names[message.tool_use.tool_id] = message.tool_use.name
        role = "model" if message.role is Role.ASSISTANT else "user"
        parts = _model_parts(message, provider) if role == "model" else list(_user_parts(message, names))
        if not parts:
            continue
        if said and said[-1]["role"] == role:
            said[-1]["parts"].extend(parts)
        else:
            said.append({"role": role, "parts": parts})
    if needs_signature:
        _mark_unsigned(said)
    return said


def _mark_unsigned(said: list[dict[str, Any]]) -> None:
    """Have the first call of each of the model's turns signed: of calls in a row only the first ever is."""
    for turn in said:
        first = next((part for part in turn["parts"] if "functionCall" in part), None)
        if first is not None and "thoughtSignature" not in first:
            first["thoughtSignature"] = UNSIGNED


def _model_parts(message: Message, provider: str) -> list[Part]:
    thoughts = message.reasoning
    proof = signed(thoughts) if thoughts is not None and thoughts.provider == provider else Signed()
    parts: list[Part] = []
    if proof.before and thoughts is not None:
        parts.append({"text": thoughts.text, "thought": True, "thoughtSignature": proof.before})
    if message.tool_use is not None:
        parts.append({"functionCall": _call(message.tool_use)})
    elif message.text or proof.own:
        parts.append({"text": message.text})
    if proof.own:
        parts[-1]["thoughtSignature"] = proof.own
    if proof.behind:
        parts.append({"text": "", "thoughtSignature": proof.behind})
    return parts


def _user_parts(message: Message, names: dict[str, str]) -> Iterator[Part]:
    if message.tool_result is not None:
        yield {"functionResponse": _response(message.tool_result, names)}
    for image in message.images:
        yield _image(image)
    if message.text:
        yield {"text": message.text}


def _call(use: ToolUse) -> Part:
    # Sorted: the input may come from a protobuf Struct, which has no order.
    return {"name": use.name, "args": msgspec.Raw(_encode(use.input, order="sorted"))} | _id(use.tool_id)


def _response(result: ToolResult, names: dict[str, str]) -> Part:
    said = {"error" if result.is_error else "output": result.result}
    return {"name": names.get(result.tool_id, result.tool_id), "response": said} | _id(result.tool_id)


def _id(tool_id: str) -> Part:
    return {} if _MADE_UP.fullmatch(tool_id) else {"id": tool_id}


def _image(image: Image) -> Part:
    assert image.data or image.uri, "the bytes of stored pictures are put in before a wire is asked"
    kind = {"mimeType": image.media_type} if image.media_type else {}
    if not image.data:
        return {"fileData": kind | {"fileUri": image.uri}}
    return {"inlineData": kind | {"data": base64_of(image)}}


def _tools(options: ChatOptions) -> dict[str, Any]:
    if not options.tools:
        return {}
    given: dict[str, Any] = {"tools": [{"functionDeclarations": [_tool(tool) for tool in options.tools]}]}
    choice = options.tool_choice
    if choice and choice not in _MODES:
        calling: Part = {"mode": "ANY", "allowedFunctionNames": [choice]}
    elif choice in ("", "auto") and any(tool.strict for tool in options.tools):
        calling = {"mode": "VALIDATED"}
    elif choice:
        calling = {"mode": _MODES[choice]}
    else:
        return given
    return given | {"toolConfig": {"functionCallingConfig": calling}}


def _tool(tool: Tool) -> Part:
    schema = msgspec.Raw(tool.schema)
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parametersJsonSchema": schema}


def _config(request: ChatRequest) -> dict[str, Any]:
    options, wanted = request.options, request.options.response_format
    config: dict[str, Any] = {
        "temperature": options.temperature,
        "topP": options.top_p,
        "maxOutputTokens": options.max_tokens,
        "stopSequences": options.stop or None,
        "seed": options.seed,
        "presencePenalty": options.presence_penalty,
        "frequencyPenalty": options.frequency_penalty,
        "responseLogprobs": True if options.top_logprobs is not None else None,
        "logprobs": options.top_logprobs or None,
        "responseMimeType": "application/json" if wanted is not None else None,
        "responseJsonSchema": msgspec.Raw(wanted.schema) if wanted is not None and wanted.schema else None,
        "thinkingConfig": _thinking(request.model, options.reasoning_effort),
    }
    return {name: value for name, value in config.items() if value is not None}


def effort_fault(model: str, effort: str) -> str:
    """Why this model cannot be told to think so much; empty if it can."""
    if not effort or (_THINKS_NOT.search(model) and effort == "none"):
        return ""
    known = () if _THINKS_NOT.search(model) else _BUDGETS if _BY_BUDGET.search(model) else _LEVELS
    return "" if effort in known else f"{model} knows no reasoning_effort {effort}"


def _thinking(model: str, effort: str) -> Part | None:
    """How much to think: a number of tokens for the 2.5 family, a word for later ones, as Google itself maps them."""
    assert not effort_fault(model, effort), "it is refused before a wire is asked"
    if not effort or _THINKS_NOT.search(model):
        return None
    if _BY_BUDGET.search(model):
        return {"thinkingBudget": _BUDGETS[effort], "includeThoughts": effort != "none"}
    return {"thinkingLevel": _LEVELS[effort], "includeThoughts": True}
