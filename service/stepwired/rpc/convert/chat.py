"""Chat requests in, models out."""

from __future__ import annotations

import hashlib
from typing import Any

from google.protobuf import json_format

from stepwire.v1 import chat_pb2
from stepwired.chat_checks import MODEL_BYTES
from stepwired.errors import InvalidRequest, Reason
from stepwired.events import ChatRequest, Json, Message, ModelInfo, Price, TokenCount
from stepwired.limits import Limits
from stepwired.rpc.convert.messages import messages
from stepwired.rpc.convert.options import chat_options
from stepwired.store.codec.replies import usage_source_proto
from stepwired.violations import Faults

__all__ = [
    "chat_options",
    "chat_request",
    "chat_request_of_json",
    "count_proto",
    "count_request",
    "model_proto",
    "turn",
]

#: Fields that messages have and chat requests have not.
_MESSAGE_FIELDS = frozenset({"role", "text", "reasoning", "tool_use", "toolUse", "tool_result", "toolResult"})

#: The name that the ids of a request go under: ids of different calls do not meet.
_SCOPES: dict[type[Any], str] = {chat_pb2.ChatRequest: "Chat", chat_pb2.StreamChatRequest: "StreamChat"}

_Given = chat_pb2.StreamChatRequest | chat_pb2.ChatRequest


def chat_request(given: _Given, limits: Limits, path: str = "") -> ChatRequest:
    """Read what to reply to.

    Args:
        given: The request. Its `request_id` is taken out.
        limits: Of texts and messages.
        path: What paths of faults begin with, such as `chat.`.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    _check_names(path, given, limits, faults)
    so_far = messages(f"{path}messages", given.messages, limits, faults)
    _check_place(path, given, faults)
    revision = given.if_revision if given.HasField("if_revision") else None
    if revision is not None and not given.conversation_id:
        faults.add(f"{path}if_revision", "has a meaning only beside a conversation_id")
    faults.request_id(f"{path}request_id", given.request_id)
    _check_content(path, given, faults)
    options = chat_options(f"{path}options", given.options, faults, limits)
    faults.stop()
    request_id, digest = given.request_id, b""
    if request_id:
        given.ClearField("request_id")
        # Maps are written in the order of their keys, so that equal requests are equal bytes.
        digest = hashlib.sha256(given.SerializeToString(deterministic=True)).digest()
    return ChatRequest(
        model=given.model,
        system=given.system,
        messages=(*so_far, Message(text=given.prompt)) if given.prompt else so_far,
        conversation_id=given.conversation_id,
        parent_id=given.parent_id,
        if_revision=revision,
        options=options,
        request_id=request_id,
        request_scope=_SCOPES[type(given)] if request_id else "",
        request_digest=digest,
    )


def count_request(given: chat_pb2.CountTokensRequest, limits: Limits) -> ChatRequest:
    """Read what to count the tokens of; as `chat_request`."""
    faults = Faults()
    _check_names("", given, limits, faults)
    so_far = messages("messages", given.messages, limits, faults)
    _check_place("", given, faults)
    _check_content("", given, faults)
    options = chat_options("options", given.options, faults, limits)
    faults.stop()
    said = (*so_far, Message(text=given.prompt)) if given.prompt else so_far
    return ChatRequest(given.model, given.system, said, given.conversation_id, given.parent_id, options=options)


def turn(given: chat_pb2.StreamChatRequest, limits: Limits, path: str) -> ChatRequest:
    """Read a later turn of a talk, which has new messages and perhaps new options, and nothing else.

    Raises:
        InvalidRequest: With every fault.
    """
    faults = Faults()
    for name in ("model", "system", "conversation_id", "parent_id", "if_revision", "request_id"):
        if given.HasField(name) if name == "if_revision" else getattr(given, name):
            faults.add(f"{path}{name}", "belongs to the first turn, and holds for all of them")
    faults.text(f"{path}prompt", given.prompt, limits.message_text_bytes)
    said = messages(f"{path}messages", given.messages, limits, faults)
    _check_content(path, given, faults)
    options = chat_options(f"{path}options", given.options, faults, limits)
    faults.stop()
    return ChatRequest(messages=(*said, Message(text=given.prompt)) if given.prompt else said, options=options)


def _check_names(path: str, given: _Given | chat_pb2.CountTokensRequest, limits: Limits, faults: Faults) -> None:
    faults.text(f"{path}model", given.model, MODEL_BYTES)
    faults.text(f"{path}system", given.system, limits.message_text_bytes)
    faults.text(f"{path}prompt", given.prompt, limits.message_text_bytes)


def _check_place(path: str, given: _Given | chat_pb2.CountTokensRequest, faults: Faults) -> None:
    faults.id(f"{path}conversation_id", given.conversation_id)
    faults.id(f"{path}parent_id", given.parent_id)
    if given.parent_id and not given.conversation_id:
        faults.add(f"{path}parent_id", "has a meaning only beside a conversation_id")


def _check_content(path: str, given: _Given | chat_pb2.CountTokensRequest, faults: Faults) -> None:
    if not (given.prompt or given.messages or given.conversation_id):
        text = "there is nothing to reply to: set prompt, messages or conversation_id"
        faults.add(f"{path}prompt", text, Reason.INVALID_CONVERSATION)


def chat_request_of_json(value: Json, limits: Limits) -> ChatRequest:
    """Read what a chat step takes: a text, a message, a list of messages, or the fields of `StreamChatRequest`.

    Field names are read as JSON spells them or as the proto does.

    Raises:
        InvalidRequest: It is none of these, or has faults.
    """
    match value:
        case str():
            return chat_request(_parsed({"prompt": value}), limits)
        case list():
            return chat_request(_parsed({"messages": value}), limits)
        case dict() if value.keys() & _MESSAGE_FIELDS:
            return chat_request(_parsed({"messages": [value]}), limits)
        case dict():
            return chat_request(_parsed(value), limits)
        case _:
            raise _not_a_request()


def _parsed(value: dict[str, Json]) -> chat_pb2.StreamChatRequest:
    try:
        return json_format.ParseDict(value, chat_pb2.StreamChatRequest())
    except (json_format.ParseError, ValueError, TypeError):  # its text may hold what the value holds
        unknown = sorted(value.keys() - _REQUEST_FIELDS)
        raise _not_a_request(f"; it has no field `{unknown[0][:64]}`" if unknown else "") from None


_REQUEST_FIELDS = frozenset(
    name for field in chat_pb2.StreamChatRequest.DESCRIPTOR.fields for name in (field.name, field.json_name)
)


def _not_a_request(more: str = "") -> InvalidRequest:
    wanted = "a text, a message, a list of messages, or an object with the fields of StreamChatRequest"
    return InvalidRequest(Reason.STEP_INPUT_INVALID, f"a chat takes {wanted}{more}")


def model_proto(info: ModelInfo) -> chat_pb2.Model:
    """Write one model that can chat."""
    written = chat_pb2.Model(
        name=info.name,
        aliases=info.aliases,
        provider=info.endpoint,
        provider_model=info.provider_model,
        is_default=info.is_default,
        context_length=info.context_length,
        max_output_tokens=info.max_output_tokens,
        abilities=info.abilities,
        fallbacks=info.fallbacks,
    )
    if info.price is not None:
        written.price.CopyFrom(_price_proto(info.price))
    return written


def _price_proto(price: Price) -> chat_pb2.Price:
    return chat_pb2.Price(input=price.input, output=price.output, cached_input=price.cached_input)


def count_proto(count: TokenCount) -> chat_pb2.CountTokensResponse:
    """Write how many tokens a model would read."""
    return chat_pb2.CountTokensResponse(
        input_token_count=min(count.input_tokens, 2**31 - 1),
        source=usage_source_proto(count.source),
        model=count.model,
        context_length=count.context_length,
    )
