"""Has providers count tokens, those that can: with the very request that they would be asked for a reply."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from stepwired.errors import Failure
from stepwired.events import ChatRequest
from stepwired.limits import MIB
from stepwired.providers.base import Address
from stepwired.providers.reading.mending import MALFORMED
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.wire import ChatWire

#: How long a provider may take to count: who asks wants to know before the provider could answer.
COUNT_S = 10.0

_ANSWER_BYTES = 16 * MIB
_ANTHROPIC = ("messages", "model", "system", "thinking", "tool_choice", "tools")
_GEMINI = ("contents", "systemInstruction", "tools", "toolConfig")


async def provider_count(wire: ChatWire, request: ChatRequest) -> int | None:
    """What the provider counts; None if it cannot, or does not answer.

    Args:
        wire: The endpoint.
        request: As the wire would be asked, with the provider's name of the model.
    """
    ask = _WIRES.get(wire.endpoint.wire)
    if ask is None:
        return None
    try:
        return await ask(wire, request)
    except Failure:
        return None  # it would not answer a chat either, and will say so then


async def _anthropic(wire: ChatWire, request: ChatRequest) -> int | None:
    body = await _body(wire, request)
    counted = {name: body[name] for name in _ANTHROPIC if name in body}
    return _number(await _ask(wire, request, "messages/count_tokens", counted), "input_tokens")


async def _gemini(wire: ChatWire, request: ChatRequest) -> int | None:
    body = await _body(wire, request)
    path = wire.chat_path(request).partition(":")[0]
    counted = {"model": path} | {name: body[name] for name in _GEMINI if name in body}
    return _number(await _ask(wire, request, f"{path}:countTokens", {"generateContentRequest": counted}), "totalTokens")


async def _llamacpp(wire: ChatWire, request: ChatRequest) -> int | None:
    """What the engine itself makes of the messages, if it is one that says so."""
    if not wire.endpoint.quirks.tokenizes:
        return None
    body = await _body(wire, request)
    asked: dict[str, Any] = {name: body[name] for name in ("messages", "tools") if name in body}
    made = await _ask(wire, request, "../apply-template", asked)
    if not isinstance(made, dict) or not isinstance(made.get("prompt"), str):
        return None
    text = {"content": made["prompt"], "add_special": True, "parse_special": True}
    counted = await _ask(wire, request, "../tokenize", text)
    tokens = counted.get("tokens") if isinstance(counted, dict) else None
    return len(tokens) if isinstance(tokens, list) else None


_WIRES: Mapping[str, Callable[[ChatWire, ChatRequest], Awaitable[int | None]]] = {
    "anthropic": _anthropic,
    "gemini": _gemini,
    "openai": _llamacpp,
}


async def _body(wire: ChatWire, request: ChatRequest) -> dict[str, Any]:
    wire.check(request)
    raw = await asyncio.to_thread(wire.chat_body, request)
    body: dict[str, Any] = msgspec.json.decode(raw)
    return body


async def _ask(wire: ChatWire, request: ChatRequest, path: str, body: dict[str, Any]) -> Any:
    """Post and read JSON; None if the answer is none."""
    endpoint = wire.endpoint
    address = await endpoint.at(request.caller_key)
    asked = Asked(endpoint.name, request.model, address.key(), is_callers=endpoint.keys == "caller")
    budget = replace(endpoint.budget, first_byte_s=COUNT_S, total_s=COUNT_S)
    raw = await asyncio.to_thread(msgspec.json.encode, body)
    url = _url(address, path, request.model)
    async with wire.http.post(endpoint.name, url, raw, headers=wire.headers(address), budget=budget) as reply:
        await wire.check_reply(reply, asked, ("application/json",))
        answer = await reply.read_all(_ANSWER_BYTES)
        await reply.finish()
    try:
        return await asyncio.to_thread(msgspec.json.decode, answer)
    except MALFORMED:
        return None


def _url(address: Address, path: str, model: str) -> str:
    if path.startswith("../"):  # beside the folder of the wire
        return replace(address, base_url=address.base_url.rstrip("/").removesuffix("/v1")).url(path[3:], model)
    return address.url(path, model)


def _number(answer: Any, name: str) -> int | None:
    number = answer.get(name) if isinstance(answer, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
