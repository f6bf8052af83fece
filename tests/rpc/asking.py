"""Requests with one field set, and what is found wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import struct_pb2

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, message_pb2, step_run_pb2
from stepwired.errors import InvalidRequest, Violation
from stepwired.limits import Limits
from stepwired.rpc.convert import changes, conversations, embeddings, file_calls, message_calls
from stepwired.rpc.convert.chat import chat_request
from stepwired.rpc.convert.steps import SpecReader, run_input
from stepwired.violations import Faults

LIMITS = Limits()


Request = Any


def _run(request: step_run_pb2.RunStepRequest) -> None:
    faults = Faults()
    SpecReader(LIMITS, faults).specs(request.steps)
    run_input(request, LIMITS, faults)
    faults.stop()


C = conversation_pb2

#: What reads each request.
READERS: dict[type, Callable[[Any], object]] = {
    chat_pb2.StreamChatRequest: lambda request: chat_request(request, LIMITS),
    chat_pb2.ChatRequest: lambda request: chat_request(request, LIMITS),
    embed_pb2.EmbedRequest: lambda request: embeddings.embed_texts(request, LIMITS),
    embed_pb2.StreamEmbeddingsRequest: lambda request: embeddings.stream_texts(request, LIMITS),
    embed_pb2.SearchRequest: lambda request: embeddings.search(request, LIMITS),
    step_run_pb2.RunStepRequest: _run,
    C.CreateConversationRequest: lambda request: conversations.creation(request, LIMITS),
    C.AppendMessagesRequest: lambda request: conversations.appended(request, LIMITS),
    C.GetConversationRequest: lambda request: conversations.conversation_id(request.conversation_id),
    C.DeleteConversationRequest: lambda request: conversations.conversation_id(request.conversation_id),
    C.ListConversationsRequest: lambda request: conversations.listing(request, LIMITS),
    C.UpdateConversationRequest: lambda request: conversations.update(request, LIMITS),
    C.ForkConversationRequest: conversations.fork,
    C.StreamMessagesRequest: message_calls.view,
    C.RenderConversationRequest: message_calls.render_format,
    C.GetMessageRequest: message_calls.message_named,
    C.UpdateMessageRequest: lambda request: message_calls.message_update(request, LIMITS),
    C.SearchMessagesRequest: message_calls.message_search,
    C.WatchConversationRequest: changes.watch,
    C.UploadImageRequest: file_calls.picture_name,
    C.DownloadImageRequest: file_calls.blob_named,
    C.ExportConversationRequest: file_calls.export,
    C.ImportConversationRequest: file_calls.import_,
}


def violations(request: Request) -> tuple[Violation, ...]:
    try:
        READERS[type(request)](request)
    except InvalidRequest as failure:
        return failure.violations
    return ()


def chat(**fields: Any) -> chat_pb2.StreamChatRequest:
    return chat_pb2.StreamChatRequest(**{"prompt": "hi", **fields})


def options(name: str) -> Callable[[Any], Request]:
    return lambda value: chat(options=chat_pb2.ChatOptions(**{name: value}))


def create(**fields: Any) -> conversation_pb2.CreateConversationRequest:
    return conversation_pb2.CreateConversationRequest(**fields)


def message(**fields: Any) -> conversation_pb2.CreateConversationRequest:
    return create(messages=[message_pb2.Message(**fields)])


def text_message(**fields: Any) -> conversation_pb2.CreateConversationRequest:
    return message(text="hi", **fields)


def picture(**fields: Any) -> conversation_pb2.CreateConversationRequest:
    return text_message(images=[message_pb2.Image(**fields)])


def tool_use(**fields: Any) -> conversation_pb2.CreateConversationRequest:
    return message(tool_use=message_pb2.ToolUse(**{"tool_id": "t", "name": "n", **fields}))


def tool_result(**fields: Any) -> conversation_pb2.CreateConversationRequest:
    return message(tool_result=message_pb2.ToolResult(**{"tool_id": "t", **fields}))


def step(**fields: Any) -> step_run_pb2.RunStepRequest:
    return step_run_pb2.RunStepRequest(steps=[step_run_pb2.Step(**{"spread": {}, **fields})])


def struct(**fields: Any) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(fields)
    return made


def nested(depth: int) -> struct_pb2.Struct:
    """An object of so many levels."""
    made = struct_pb2.Struct()
    inner = made
    for _ in range(depth - 1):
        inner = inner.fields["a"].struct_value
    inner.fields["b"].bool_value = True
    return made


def sized(size: int) -> struct_pb2.Struct:
    """An object of so many bytes of JSON: `{"a":"…"}`."""
    return struct(a="x" * (size - 8))


def keys(count: int) -> struct_pb2.Struct:
    return struct(**{str(index): True for index in range(count)})


def labels(count: int) -> dict[str, str]:
    return {str(index): "" for index in range(count)}
