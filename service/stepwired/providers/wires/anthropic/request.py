"""Writes requests of the Anthropic wire. Equal requests give equal bytes, so that its prompt cache hits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from stepwired.events import ChatOptions, ChatRequest, Image, Message, ResponseFormat, Role, Tool, ToolResult, ToolUse
from stepwired.providers.wires.anthropic.models import BUDGETS, DEFAULT_MAX_TOKENS, MIN_BUDGET, traits_of
from stepwired.providers.wires.anthropic.thoughts import blocks_of
from stepwired.providers.wires.history import base64_of, in_order, system_text

Block = dict[str, Any]

_encode = msgspec.json.encode
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_ID = re.compile(r"[^A-Za-z0-9_-]")


def reply_tool(options: ChatOptions, model: str) -> str:
    """Name of the tool whose arguments are the reply, where a format is asked for that way; else empty."""
    wanted = options.response_format
    if wanted is None or (wanted.schema and traits_of(model).has_schemas):
        return ""
    name = wanted.name
    while any(tool.name == name for tool in options.tools):
        name += "_"
    return name


def messages_body(request: ChatRequest, provider: str) -> bytes:
    """The JSON of a streamed message.

    Args:
        request: What is asked, with the provider's name of the model.
        provider: The endpoint, whose own thoughts go back to it.
    """
    options = request.options
    thinking = _Thinking.of(request.model, options)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": (options.max_tokens or DEFAULT_MAX_TOKENS + thinking.budget),
        "system": system_text(request) or None,
        "messages": turns(request.messages, provider),
        "stream": True,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop_sequences": options.stop or None,
        "thinking": thinking.said,
        "output_config": _output(request, thinking) or None,
        **_tools(request, is_thinking=thinking.is_on),
    }
    return _encode({name: value for name, value in body.items() if value is not None})


def turns(messages: Iterable[Message], provider: str) -> list[dict[str, Any]]:
    """Messages as the wire wants them: user and assistant by turns, a turn's tool results before all else in it.

    System messages are elsewhere. A thought stands before what it led to; one that led to nothing is left out.
    """
    said = [
        ("assistant", _assistant_blocks(message, provider))
        if message.role is Role.ASSISTANT
        else ("user", list(_user_blocks(message)))
        for message in in_order(messages)
        if message.role is not Role.SYSTEM
    ]
    for role, blocks in (merged := _merged(said)):
        while role == "assistant" and blocks and blocks[-1]["type"] in _THOUGHTS:
            blocks.pop()
    said = _merged(merged)
    for _, blocks in said:
        blocks.sort(key=lambda block: block["type"] != "tool_result")
    return [{"role": role, "content": blocks} for role, blocks in said]


def _merged(said: Iterable[tuple[str, list[Block]]]) -> list[tuple[str, list[Block]]]:
    merged: list[tuple[str, list[Block]]] = []
    for role, blocks in said:
        if not blocks:
            continue
        if merged and merged[-1][0] == role:
            merged[-1][1].extend(blocks)
        else:
            merged.append((role, list(blocks)))
    return merged


def _assistant_blocks(message: Message, provider: str) -> list[Block]:
    thoughts = message.reasoning
    blocks = blocks_of(thoughts) if thoughts is not None and thoughts.provider == provider else []
    if message.text.strip():  # a block of nothing but white space is refused
        blocks.append({"type": "text", "text": message.text})
    if message.tool_use is not None:
        blocks.append(_tool_use(message.tool_use))
    return blocks


def _user_blocks(message: Message) -> Iterator[Block]:
    if message.tool_result is not None:
        yield _tool_result(message.tool_result)
    for image in message.images:
        yield {"type": "image", "source": _source(image)}
    if message.text:
        yield {"type": "text", "text": message.text}


def _source(image: Image) -> Block:
    assert image.data or image.uri, "the bytes of stored pictures are put in before a wire is asked"
    if not image.data:
        return {"type": "url", "url": image.uri}
    return {"type": "base64", "media_type": image.media_type, "data": base64_of(image)}


def _tool_use(use: ToolUse) -> Block:
    # Sorted: the input may come from a protobuf Struct, which has no order.
    given = msgspec.Raw(_encode(use.input, order="sorted"))
    return {"type": "tool_use", "id": _tool_id(use.tool_id), "name": use.name, "input": given}


def _tool_result(result: ToolResult) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": _tool_id(result.tool_id), "content": result.result}
    return block | {"is_error": True} if result.is_error else block


def _tool_id(tool_id: str) -> str:
    """The id with letters that this server takes, the same for a use and its result, and still unlike any other."""
    taken = _ID.sub("_", tool_id)
    if taken == tool_id:
        return tool_id
    return f"{taken}_{hashlib.blake2b(tool_id.encode(), digest_size=8).hexdigest()}"


def _tools(request: ChatRequest, *, is_thinking: bool) -> dict[str, Any]:
    options = request.options
    tools = [_tool(tool) for tool in options.tools]
    choice: Block = {}
    if tools and options.tool_choice:
        kind = _CHOICES.get(options.tool_choice)
        choice = {"type": kind} if kind else {"type": "tool", "name": options.tool_choice}
    if tools and options.parallel_tool_calls is not None and choice.get("type") != "none":
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": not options.parallel_tool_calls}
    if name := reply_tool(options, request.model):
        assert not is_thinking, "it is refused before a wire is asked"
        assert options.response_format is not None, "or there would be no such tool"
        only = not tools or options.tool_choice == "none"
        if only:
            choice = {"type": "tool", "name": name}
        elif choice.get("type") != "tool":
            choice |= {"type": "any"}
        tools.append(_reply_tool(name, options.response_format))
    if not tools and (names := _called(request.messages)):
        # Calls of tools that are not defined are refused, also those of the past.
        tools, choice = [_tool(Tool(name)) for name in names], {"type": "none"}
    return ({"tools": tools} if tools else {}) | ({"tool_choice": choice} if choice else {})


def _called(messages: Iterable[Message]) -> list[str]:
    """The tools that were called, each once."""
    return list(dict.fromkeys(message.tool_use.name for message in messages if message.tool_use is not None))


def _tool(tool: Tool) -> Block:
    block: Block = {"name": tool.name, "input_schema": msgspec.Raw(tool.schema)}
    if tool.description:
        block["description"] = tool.description
    return block | {"strict": True} if tool.strict else block


def _reply_tool(name: str, wanted: ResponseFormat) -> Block:
    schema = msgspec.Raw(wanted.schema or b'{"type":"object"}')
    return {"name": name, "input_schema": schema, "description": "Takes your reply. Always reply through it."}


def _output(request: ChatRequest, thinking: _Thinking) -> Block:
    wanted = request.options.response_format
    output: Block = {"effort": thinking.effort} if thinking.effort else {}
    if wanted is not None and not reply_tool(request.options, request.model):
        output["format"] = {"type": "json_schema", "schema": msgspec.Raw(wanted.schema)}
    return output


@dataclass(frozen=True, slots=True)
class _Thinking:
    """How much to think, as the model is told."""

    said: Block | None = None
    budget: int = 0
    effort: str = ""

    @property
    def is_on(self) -> bool:
        return self.said is not None and self.said["type"] != "disabled"

    @staticmethod
    def of(model: str, options: ChatOptions) -> _Thinking:
        effort, traits = options.reasoning_effort, traits_of(model)
        assert not _effort_fault(model, options), "it is refused before a wire is asked"
        if not effort:
            return _Thinking()
        if effort == "none":
            return _Thinking({"type": "disabled"} if traits.thinking else None)
        if traits.thinking == "budget":
            return _budgeted(BUDGETS[effort], options.max_tokens)
        return _Thinking({"type": "adaptive", "display": "summarized"}, effort=effort)


def _budgeted(budget: int, max_tokens: int | None) -> _Thinking:
    if max_tokens is not None:
        budget = min(budget, _most_thoughts(max_tokens))
    return _Thinking({"type": "enabled", "budget_tokens": budget}, budget)


def _most_thoughts(max_tokens: int) -> int:
    """Thinking is part of the tokens that a caller allows: it leaves a quarter of them for the reply."""
    return max_tokens * 3 // 4


def unsaid(request: ChatRequest) -> Iterator[tuple[str, str]]:
    """Options that the model does not know, or not together: the field of each, and why."""
    model, options = request.model, request.options
    if why := _effort_fault(model, options):
        yield "options.reasoning_effort", why
    elif _Thinking.of(model, options).is_on and reply_tool(options, model):
        yield "options.response_format", f"{model} cannot be held to a format while it thinks"


def _effort_fault(model: str, options: ChatOptions) -> str:
    """Why the model cannot be told to think so much; empty if it can."""
    effort, traits, max_tokens = options.reasoning_effort, traits_of(model), options.max_tokens
    if effort in {"", "none"} or (traits.thinking == "adaptive" and effort in traits.efforts):
        return ""
    if traits.thinking != "budget" or effort not in BUDGETS:
        known = sorted(BUDGETS if traits.thinking == "budget" else traits.efforts)
        others = f": it knows none, {', '.join(known)}" if known else ""
        return f"{model} knows no reasoning_effort {effort}{others}"
    if max_tokens is not None and (most := _most_thoughts(max_tokens)) < MIN_BUDGET:
        return f"{model} thinks with {MIN_BUDGET} tokens at least, and {max_tokens} max_tokens leave {most} for it"
    return ""
