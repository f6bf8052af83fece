"""Asks once more for a reply that does not have the form that was asked for, if the caller wishes so."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import msgspec

from stepwired.errors import Failure, Reason
from stepwired.events import (
    Attempt,
    Batch,
    Chat,
    ChatRequest,
    Event,
    Finished,
    Message,
    Restarted,
    Role,
    Started,
    TextDelta,
)


def with_format(chat: Chat) -> Chat:
    """Make `chat` understand `response_format.retry`; a request without it is passed on as it is.

    If the reply does not match, the model is shown it, told what is wrong with it, and asked once more, behind
    `Restarted`. `Finished` then names the first try among its `attempts`; its usage is that of the second alone, as
    after every restart. Arguments of tools are no part of that: they fail as they would without.
    """

    def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        wanted = request.options.response_format
        return chat(request) if wanted is None or not wanted.retry else _Tries(request).run(chat)

    return run


class _Tries:
    """The tries at one reply."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._texts: list[str] = []
        self._place: Started | Restarted | None = None
        """Whom the first try was asked of; None if nothing of it was told."""

        self._attempt = 1
        self._asked_s = time.monotonic()
        self._failed: list[Attempt] = []

    async def run(self, chat: Chat) -> AsyncGenerator[Batch, None]:
        try:
            async with aclosing(chat(self._request)) as batches:
                async for batch in batches:
                    self._note(batch)
                    yield batch
            return
        except Failure as failure:
            if failure.reason is not Reason.STRUCTURED_OUTPUT_INVALID or "toolCall" in failure.metadata:
                raise
            wrong = failure
        request = self._after(wrong)
        async with aclosing(chat(request)) as batches:
            async for batch in batches:
                yield [self._told(event) for event in batch]

    def _note(self, batch: Batch) -> None:
        for event in batch:
            if type(event) is TextDelta:
                self._texts.append(event.text)
            elif isinstance(event, Started | Restarted):
                self._place = event
                self._texts.clear()
                if isinstance(event, Restarted):
                    self._attempt = event.attempt

    def _after(self, wrong: Failure) -> ChatRequest:
        """What to ask after a first try that failed."""
        provider, model = wrong.metadata.get("provider", ""), ""
        if self._place is not None:
            provider, model = self._place.provider, self._place.model
        self._failed.append(Attempt(provider, model, wrong.reason, time.monotonic() - self._asked_s))
        text = "".join(self._texts)
        said = [Message(Role.ASSISTANT, text)] if text.strip() else []
        why = str(wrong).partition(": ")[2] or "it is not in the form that was asked for"
        said.append(Message(text=f"That cannot be used: {why}. Reply again with the JSON alone, as it was asked for."))
        return replace(self._request, messages=(*self._request.messages, *said))

    def _told(self, event: Event) -> Event:
        """An event of the second try, as part of the whole."""
        if isinstance(event, Started) and self._place is not None:
            self._attempt += 1
            return Restarted(self._attempt, Reason.STRUCTURED_OUTPUT_INVALID, event.model, event.provider)
        if isinstance(event, Restarted):
            self._attempt += 1
            return msgspec.structs.replace(event, attempt=self._attempt)
        if isinstance(event, Finished):
            return msgspec.structs.replace(event, attempts=(*self._failed, *event.attempts))
        return event
