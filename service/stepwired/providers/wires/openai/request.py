"""Writes chat requests of the OpenAI wire. Equal requests give equal bytes, so that providers' prompt caches hit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from stepwired.events import ChatOptions, ChatRequest, Image, Json, Message, Reasoning, ResponseFormat, Role, Tool
from stepwired.providers.wires.history import base64_of, in_order, told_result
from stepwired.providers.wires.quirks import Quirks

_encode = msgspec.json.encode

#: What `tool_choice` says beside the name of a tool.
_CHOICES = ("auto", "none", "required")

_DEFAULT = Quirks()
_SHORT = 9
"""Letters and digits of an id, where they are counted."""


def chat_body(request: ChatRequest, quirks: Quirks = _DEFAULT, provider: str = "") -> bytes:
    """The JSON of a streamed chat completion. What is unset is not sent.

    Args:
        request: What is asked.
        quirks: What the server calls things.
        provider: The endpoint's name: reasoning goes back to the one that it came from.
    """
    options = request.options
    system = request.system
    if quirks.schema_mode == "json_object" and options.response_format is not None and options.response_format.schema:
        system = _with_schema(system, options.response_format.schema)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": chat_messages(system, request.messages, quirks, provider),
        "stream": True,
        "stream_options": {"include_usage": True} if quirks.stream_usage else None,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
        "stop": options.stop or None,
        "seed": options.seed,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        **_tools(options),
        "response_format": _format(options.response_format, quirks),
        "logit_bias": {str(token): bias for token, bias in sorted(options.logit_bias)} or None,
        "logprobs": None if options.top_logprobs is None else True,
        "top_logprobs": options.top_logprobs or None,
        **_effort(options.reasoning_effort, quirks),
    }
    names = dict(quirks.names)
    return _encode({names.get(name, name): value for name, value in body.items() if value is not None})


def chat_messages(
    system: str, messages: Iterable[Message], quirks: Quirks = _DEFAULT, provider: str = ""
) -> list[dict[str, Any]]:
    """Messages as the wire wants them, in the order of `history.in_order`.

    Tool uses that follow each other, and the text before them, are one message of the assistant. Reasoning goes back
    only to the provider that made it, and only where `quirks` says in which field. Pictures are sent by their bytes, or
    by the address they are kept as.
    """
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for message in in_order(messages):
        if (result := message.tool_result) is not None:
            tool_id = _tool_id(result.tool_id, quirks)
            said.append({"role": Role.TOOL.value, "tool_call_id": tool_id, "content": told_result(result)})
            continue
        if (use := message.tool_use) is not None:
            function = {"name": use.name, "arguments": _sorted(use.input)}
            call = {"id": _tool_id(use.tool_id, quirks), "type": "function", "function": function}
            if not said or said[-1]["role"] != Role.ASSISTANT.value:
                said.append({"role": Role.ASSISTANT.value, "content": None})
            said[-1].setdefault("tool_calls", []).append(call)
        else:
            # What a tool says without having been called answers no call, and servers insist that it does.
            role = Role.USER if message.role is Role.TOOL else message.role
            said.append({"role": role.value, "content": _content(message)})
        if message.reasoning is not None:
            said[-1] = _thought(message.reasoning, quirks, provider) | said[-1]
    return said


def _thought(reasoning: Reasoning, quirks: Quirks, provider: str) -> dict[str, Any]:
    """What goes back of what the model thought."""
    if not quirks.reasoning_back or reasoning.provider != provider:
        return {}
    if quirks.reasoning_back == "reasoning_details":
        try:
            msgspec.json.decode(reasoning.signature, type=list[dict[str, Any]])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}  # none of ours
        return {"reasoning_details": msgspec.Raw(reasoning.signature)}
    return {quirks.reasoning_back: reasoning.text} if reasoning.text else {}


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.text
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
    return parts + [{"type": "image_url", "image_url": _image(image)} for image in message.images]


def _image(image: Image) -> dict[str, Any]:
    assert image.data or image.uri, "the bytes of stored pictures are put in before a wire is asked"
    url: Any = image.uri
    if image.data:
        url = base64_of(image, b"data:%b;base64," % image.media_type.encode())
    return {"url": url} if image.detail in {"", "auto"} else {"url": url, "detail": image.detail}


def _tools(options: ChatOptions) -> dict[str, Any]:
    choice: Any = options.tool_choice or None
    if choice is not None and choice not in _CHOICES:
        choice = {"type": "function", "function": {"name": choice}}
    if not options.tools:
        return {}
    return {
        "tools": [{"type": "function", "function": _function(tool)} for tool in options.tools],
        "tool_choice": choice,
        "parallel_tool_calls": options.parallel_tool_calls,
    }


def _function(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = msgspec.Raw(tool.schema)
    if tool.strict is not None:
        function["strict"] = tool.strict
    return function


def _format(wanted: ResponseFormat | None, quirks: Quirks) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if not wanted.schema or quirks.schema_mode == "json_object":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": wanted.name, "schema": msgspec.Raw(wanted.schema)}
    if is_strict(wanted.schema):
        schema["strict"] = True
    return {"type": "json_schema", "json_schema": schema}


def _with_schema(system: str, schema: bytes) -> str:
    """For servers that hold a model to JSON, not to a schema: it is told, and the reply checked by us."""
    told = f"Answer with JSON only, matching this JSON Schema: {schema.decode()}"
    return f"{system}\n\n{told}" if system else told


def _effort(effort: str, quirks: Quirks) -> dict[str, Any]:
    if not effort:
        return {}
    outer, _, inner = quirks.effort.partition(".")
    return {outer: {inner: effort} if inner else effort}


@lru_cache(256)
def is_strict(schema: bytes) -> bool:
    """Whether servers that insist on it take the schema as strict: each object names all its keys, and needs them."""
    whole = msgspec.json.decode(schema)
    try:
        return isinstance(whole, dict) and whole.get("type") == "object" and "anyOf" not in whole and _is_strict(whole)
    except RecursionError:
        return False


_PLAIN = frozenset(
    {
        "$ref",
        "$schema",
        "const",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "required",
        "title",
        "type",
    }
)
"""What strict schemas may say, besides that in which other schemas lie: all that OpenAI names, and nothing else."""

_NAMED = ("$defs", "definitions", "properties")


def _is_strict(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    if "properties" in part or part.get("type") == "object":
        named, needed = part.get("properties"), part.get("required", [])
        if part.get("additionalProperties") is not False or not isinstance(named, dict):
            return False
        if not isinstance(needed, list) or set(map(str, needed)) != named.keys():
            return False
    return all(_is_strict_keyword(name, value) for name, value in part.items())


def _is_strict_keyword(name: str, value: Any) -> bool:
    if name in _NAMED:
        return isinstance(value, dict) and all(map(_is_strict, value.values()))
    if name == "anyOf":
        return isinstance(value, list) and all(map(_is_strict, value))
    if name == "items":
        return _is_strict(value)
    return name in _PLAIN or (name == "additionalProperties" and value is False)


def _tool_id(tool_id: str, quirks: Quirks) -> str:
    """The id as the server takes it: the same one for a use and its result."""
    if not quirks.short_ids or (len(tool_id) == _SHORT and tool_id.isascii() and tool_id.isalnum()):
        return tool_id
    return hashlib.blake2b(tool_id.encode()).hexdigest()[:_SHORT]


def _sorted(value: Mapping[str, Json]) -> str:
    """Compact JSON with sorted keys: the input may come from a protobuf Struct, which has no order."""
    return _encode(value, order="sorted").decode()
