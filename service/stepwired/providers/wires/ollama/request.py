"""Writes chat requests of Ollama's wire. Equal requests give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from stepwired.events import ChatOptions, ChatRequest, Image, Message, Role, Tool
from stepwired.providers.wires.history import base64_of, in_order, told_result

_encode = msgspec.json.encode

EFFORTS: dict[str, bool | str] = {
    "none": False,
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
}
"""What `reasoning_effort` is here. Models that only know whether to think refuse the levels, and think by default."""


def chat_body(request: ChatRequest, provider: str = "") -> bytes:
    """The JSON of a streamed chat. What is unset is not sent; neither is how long the model is to stay loaded.

    Args:
        request: What is asked.
        provider: The endpoint's name: reasoning goes back to the one that it came from.
    """
    options = request.options
    body: dict[str, Any] = {
        "model": request.model,
        "messages": chat_messages(request.system, request.messages, provider),
        "stream": True,
        "tools": None if options.tool_choice == "none" else [_tool(tool) for tool in options.tools] or None,
        "format": _format(options),
        "think": EFFORTS.get(options.reasoning_effort),
        "logprobs": None if options.top_logprobs is None else True,
        "top_logprobs": options.top_logprobs or None,
        "options": _options(options) or None,
    }
    return _encode({name: value for name, value in body.items() if value is not None})


def chat_messages(system: str, messages: Iterable[Message], provider: str = "") -> list[dict[str, Any]]:
    """Messages as the wire wants them, in the order of `history.in_order`.

    Tool uses that follow each other, and the text before them, are one message of the assistant. Results name their
    tool. Pictures are sent by their bytes: Ollama fetches nothing.
    """
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    names: dict[str, str] = {}
    for message in in_order(messages):
        if (result := message.tool_result) is not None:
            answer = {"role": Role.TOOL.value, "content": told_result(result)}
            if name := names.get(result.tool_id):
                answer["tool_name"] = name
            said.append(answer)
            continue
        if (use := message.tool_use) is not None:
            names[use.tool_id] = use.name
            arguments = msgspec.Raw(_encode(use.input, order="sorted"))
            if not said or said[-1]["role"] != Role.ASSISTANT.value:
                said.append({"role": Role.ASSISTANT.value, "content": ""})
            said[-1].setdefault("tool_calls", []).append({"function": {"name": use.name, "arguments": arguments}})
        else:
            said.append({"role": message.role.value, "content": message.text})
            if message.images:
                said[-1]["images"] = [_image(image) for image in message.images]
        reasoning = message.reasoning
        if reasoning is not None and reasoning.text and reasoning.provider == provider:
            said[-1].setdefault("thinking", reasoning.text)
    return said


def _image(image: Image) -> msgspec.Raw:
    assert image.data, "addresses are refused, and the bytes of stored pictures put in, before a wire is asked"
    return base64_of(image)


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function | {"parameters": msgspec.Raw(tool.schema)}}


def _format(options: ChatOptions) -> msgspec.Raw | str | None:
    wanted = options.response_format
    if wanted is None:
        return None
    return msgspec.Raw(wanted.schema) if wanted.schema else "json"


def _options(options: ChatOptions) -> dict[str, Any]:
    given = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "num_predict": options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
    }
    return {name: value for name, value in given.items() if value is not None}
