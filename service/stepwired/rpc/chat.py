"""Serves `stepwire.v1.ChatService`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import grpc

from stepwire.v1 import chat_pb2, chat_pb2_grpc
from stepwired.events import Chat, ChatRequest, TextDelta
from stepwired.limits import Limits
from stepwired.rpc import aside
from stepwired.rpc.callers import provider_key
from stepwired.rpc.collected import Collected
from stepwired.rpc.converse import Talk
from stepwired.rpc.convert.chat import chat_request, count_proto, model_proto
from stepwired.rpc.convert.replies import ReplyWriter, shown
from stepwired.rpc.convert.values import not_unicode
from stepwired.rpc.models import Models
from stepwired.rpc.paging import page
from stepwired.rpc.tokens import Counter

Context = grpc.aio.ServicerContext[Any, Any]


class ChatServicer(chat_pb2_grpc.ChatServiceServicer):
    """Replies, one at a time or turn by turn. Holds no state of its own.

    Args:
        chat: Makes replies.
        models: Which there are.
        limits: Of texts and replies.
        counter: Counts tokens.
    """

    def __init__(self, chat: Chat, models: Models, limits: Limits, counter: Counter) -> None:
        self._chat = chat
        self._models = models
        self._limits = limits
        self._counter = counter

    async def StreamChat(
        self, request: chat_pb2.StreamChatRequest, context: Context
    ) -> AsyncGenerator[chat_pb2.StreamChatResponse, None]:
        now = time.monotonic
        writer = ReplyWriter(now(), self._limits.stream_message_bytes, chat_pb2.StreamChatResponse)
        try:
            # gRPC cancels this task when the call ends early; `aclosing` passes that on at once.
            async with aclosing(self._chat(await self._asked(request, context))) as batches:
                async for batch in batches:
                    if type(batch[-1]) is TextDelta:
                        for response in writer.responses(batch, now):  # as few as can be: deltas are joined
                            yield response
                        continue
                    for response in await aside.write(lambda each: writer.responses(each, now), batch, shown(batch)):
                        yield response
        except UnicodeEncodeError:
            raise not_unicode() from None

    async def Chat(self, request: chat_pb2.ChatRequest, context: Context) -> chat_pb2.ChatResponse:
        collected = Collected(time.monotonic(), self._limits.reply_bytes)
        try:
            async with aclosing(self._chat(await self._asked(request, context))) as batches:
                async for batch in batches:
                    collected.add(batch)  # leaving stops the model
            return await collected.response()
        except UnicodeEncodeError:
            raise not_unicode() from None

    def Converse(
        self, requests: AsyncIterator[chat_pb2.ConverseRequest], context: Context
    ) -> AsyncGenerator[chat_pb2.ConverseResponse, None]:
        return Talk(self._chat, requests, self._limits, provider_key(context)).responses()

    async def CountTokens(self, request: chat_pb2.CountTokensRequest, context: Context) -> chat_pb2.CountTokensResponse:
        return count_proto(await self._counter.count(request, provider_key(context)))

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

    async def _asked(self, request: chat_pb2.StreamChatRequest | chat_pb2.ChatRequest, context: Context) -> ChatRequest:
        key = provider_key(context)
        asked = await aside.read(chat_request, request, self._limits)
        return replace(asked, caller_key=key) if key else asked
