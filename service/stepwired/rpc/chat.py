"""Serves `stepwire.v1.ChatService`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from stepwire.v1 import chat_pb2, chat_pb2_grpc
from stepwired.errors import Broken, Reason
from stepwired.events import Chat, Finished, TextDelta
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import ReplyWriter, chat_request, finished_proto, model_proto
from stepwired.rpc.convert.values import not_unicode, too_large
from stepwired.rpc.kept import read
from stepwired.rpc.models import Models
from stepwired.rpc.paging import page

Context = grpc.aio.ServicerContext[Any, Any]


class ChatServicer(chat_pb2_grpc.ChatServiceServicer):
    """One reply at a time. Holds no state of its own.

    Args:
        chat: Makes replies.
        models: Which there are.
        limits: Of texts and replies.
    """

    def __init__(self, chat: Chat, models: Models, limits: Limits) -> None:
        self._chat = chat
        self._models = models
        self._limits = limits

    async def StreamChat(
        self, request: chat_pb2.StreamChatRequest, _: Context
    ) -> AsyncGenerator[chat_pb2.StreamChatResponse, None]:
        now = time.monotonic
        writer = ReplyWriter(now(), self._limits.stream_message_bytes)
        try:
            # gRPC cancels this task when the call ends early; `aclosing` passes that on at once.
            asked = await read(chat_request, request, self._limits)
            async with aclosing(self._chat(asked)) as batches:
                async for batch in batches:
                    for response in writer.responses(batch, now):  # as few as can be: deltas are joined
                        yield response
        except UnicodeEncodeError:
            raise not_unicode() from None

    async def Chat(self, request: chat_pb2.ChatRequest, _: Context) -> chat_pb2.ChatResponse:
        started_s = time.monotonic()
        latency_s: float | None = None
        texts: list[str] = []
        length = 0
        finished: Finished | None = None
        try:
            asked = await read(chat_request, request, self._limits)
            async with aclosing(self._chat(asked)) as batches:
                async for batch in batches:
                    for event in batch:
                        if isinstance(event, Finished):
                            finished = event
                        elif isinstance(event, TextDelta):
                            texts.append(event.text)
                            length += len(event.text)
                    if texts and latency_s is None:
                        latency_s = time.monotonic() - started_s
                    if length > self._limits.reply_bytes:  # leaving stops the model
                        raise too_large(self._limits.reply_bytes, "StreamChat")
            if finished is None:
                raise Broken(Reason.INTERNAL, "internal error: a reply ended without its last event")
            response = chat_pb2.ChatResponse(text="".join(texts), finished=finished_proto(finished, latency_s))
        except UnicodeEncodeError:
            raise not_unicode() from None
        if response.ByteSize() > self._limits.reply_bytes:
            raise too_large(self._limits.reply_bytes, "StreamChat")
        return response

    async def ListModels(self, request: chat_pb2.ListModelsRequest, _: Context) -> chat_pb2.ListModelsResponse:
        models, token = page(
            "ListModels",
            self._models.chat_models(),
            lambda info: info.name,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return chat_pb2.ListModelsResponse(models=map(model_proto, models), next_page_token=token)

    async def GetModel(self, request: chat_pb2.GetModelRequest, _: Context) -> chat_pb2.GetModelResponse:
        return chat_pb2.GetModelResponse(model=model_proto(self._models.info(request.name, "chat")))
