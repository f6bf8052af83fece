"""What a chat is asked with, made into the messages of the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from stepwire import _pictures, _requests, _tools, errors
from stepwire._connection import Connection, Metadata
from stepwire._requests import MessageLike, OptionsLike
from stepwire._tools import Tools
from stepwire.v1 import chat_pb2

G = TypeVar("G", chat_pb2.ChatRequest, chat_pb2.StreamChatRequest, chat_pb2.CountTokensRequest)

#: What a reply has to look like: a JSON Schema, a type that stands for one, `"json"` for any object, or the real thing.
FormatLike: TypeAlias = Mapping[str, Any] | type | str | chat_pb2.ResponseFormat


async def fill(
    connection: Connection,
    request: G,
    *,
    messages: Iterable[MessageLike],
    options: OptionsLike | None,
    tools: Tools,
    response_format: FormatLike | None,
    timeout_s: float | None,
) -> G:
    """Put into a request what has first to be made, and upload the pictures that it cannot carry."""
    request.messages.extend(await _pictures.fitted(connection, _requests.messages(messages), timeout_s))
    set_options(request, options, tools, response_format)
    return request


def set_options(request: G, options: OptionsLike | None, tools: Tools, response_format: FormatLike | None) -> None:
    """Say how to answer; what is not given stays unset."""
    if (chosen := _requests.options(options)) is not None:
        request.options.CopyFrom(chosen)
    request.options.tools.extend(tools.protos)
    if response_format is not None:
        request.options.response_format.CopyFrom(_format(response_format))
    if not request.options.ByteSize() and chosen is None:
        request.ClearField("options")


def metadata(provider_key: str) -> Metadata:
    """What is sent beside a request."""
    return (("x-provider-key", provider_key),) if provider_key else None


def _format(given: FormatLike) -> chat_pb2.ResponseFormat:
    if isinstance(given, chat_pb2.ResponseFormat):
        return given
    if isinstance(given, str):
        if given != "json":
            why = f"response_format: `{given}` is none of json"
            raise errors.InvalidRequest(why, code="INVALID_ARGUMENT", reason="FIELD_INVALID")
        return chat_pb2.ResponseFormat(json_object=True)
    return chat_pb2.ResponseFormat(schema_json=_tools.schema_json(given))
