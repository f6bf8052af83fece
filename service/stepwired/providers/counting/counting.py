"""Says how many tokens a model would read, and refuses what it cannot read before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Batch, Chat, ChatRequest, TokenCount, UsageSource
from stepwired.providers.base import ModelEntry, Wire
from stepwired.providers.counting import tokens
from stepwired.providers.counting.asked import provider_count
from stepwired.providers.wires.wire import ChatWire

#: The vocabulary that is counted with where the model's own is not known: the newest, and so about the densest.
_ANY = "o200k_base"

#: The least part of such a count that the model's own vocabulary could need. No large one is twice as dense.
_LEAST_PART = 0.5

#: The model that a name means, and how it is asked.
Place = Callable[[str], tuple[ModelEntry, Wire]]


class Counting:
    """Counts and compares. `count` is `events.CountTokens`.

    Args:
        place: Raises as `Catalogue.resolve`.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    async def count(self, request: ChatRequest) -> TokenCount:
        """Have the provider count, if it can; else count here.

        Raises:
            NotFound: MODEL_NOT_FOUND.
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED: it makes no replies.
        """
        model, wire = self._place(request.model)
        asked = replace(request, model=model.provider_model)
        counted = None
        # Pictures that are stored have no bytes here, which the provider would have to see.
        if isinstance(wire, ChatWire) and not any(message.images for message in request.messages):
            if wire.endpoint.keys != "caller":
                asked = replace(asked, caller_key="")  # no endpoint that has a key of its own sees a caller's
            counted = await provider_count(wire, asked)
        source = UsageSource.PROVIDER
        if counted is None:
            source = UsageSource.ESTIMATED
            encoding = tokens.encoding_of(model.provider_model) or _ANY
            counted = await asyncio.to_thread(lambda: tokens.count(request, tokens.encoder(encoding)))
        return TokenCount(counted, source, model.provider_model, model.context_length)

    def guarded(self, chat: Chat) -> Chat:
        """`chat`, which is not asked what is sure to be longer than the model can read.

        No token is shorter than a byte, so that what has no more bytes than the model reads tokens is passed on as it
        is, uncounted. Of what is longer, only texts are counted; where the vocabulary of the model is not known, half
        of the count has to be too long. What is near the limit is the provider's to refuse.

        The stream raises, beside what `chat` raises:
            InvalidRequest: CONTEXT_LENGTH_EXCEEDED, with `limitTokens` and `requestedTokens`.
        """

        def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
            return guard(self._place(request.model)[0], chat)(request)

        return run


def guard(model: ModelEntry, chat: Chat) -> Chat:
    """`chat`, which `model` answers; see `Counting.guarded`."""
    most = model.context_length
    if most is None:
        return chat

    def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        if sum(map(_utf8_bytes, tokens.said(request))) <= most:
            return chat(request)
        return _checked(chat, request, model, most)

    return run


async def _checked(chat: Chat, request: ChatRequest, model: ModelEntry, most: int) -> AsyncGenerator[Batch, None]:
    encoding = tokens.encoding_of(model.provider_model)
    part = 1.0 if encoding else _LEAST_PART
    least = await asyncio.to_thread(lambda: tokens.least_tokens(request, tokens.encoder(encoding or _ANY)))
    if part * least > most:
        raise _too_long(model, most, least)
    async with aclosing(chat(request)) as batches:
        async for batch in batches:
            yield batch


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _too_long(model: ModelEntry, most: int, count: int) -> InvalidRequest:
    text = f"the messages exceed the context length of {model.name}, {most} tokens: they have about {count}"
    return InvalidRequest(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        text,
        metadata={"model": model.name, "limitTokens": str(most), "requestedTokens": str(count)},
        violations=[Violation("messages", text, Reason.CONTEXT_LENGTH_EXCEEDED)],
    )
