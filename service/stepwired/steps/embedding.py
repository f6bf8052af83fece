"""Many texts to vectors: equal ones once, several batches at a time, each text with an outcome of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass

from stepwired.errors import Failure, InvalidRequest, Reason, Unavailable, Violation
from stepwired.events import Embed, EmbedRequest

#: Failures that one text may cause for the others of its batch.
_OF_ONE_TEXT = frozenset(
    {
        Reason.INVALID_INPUT_TEXT,
        Reason.CONTEXT_LENGTH_EXCEEDED,
        Reason.CONTENT_BLOCKED,
        Reason.PROVIDER_REJECTED_REQUEST,
        Reason.PROVIDER_REQUEST_TOO_LARGE,
        Reason.PROVIDER_RESPONSE_TOO_LARGE,
    }
)


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one text."""

    index: int
    """Its position among the texts, from 0."""

    result: bytes | Failure
    """Its vector, as in `events.Embeddings.rows`, or why it has none."""

    model: str = ""


@dataclass(frozen=True, slots=True)
class _Outcome:
    text: str
    result: bytes | Failure
    model: str = ""


async def embed_each(
    embed: Embed,
    texts: Sequence[str],
    *,
    model: str = "",
    in_order: bool = False,
    fail_fast: bool = False,
    batch_size: int = 32,
    concurrency: int = 4,
) -> AsyncGenerator[list[Made], None]:
    """Embed texts, each with an outcome of its own; equal ones are computed once.

    Yields lists, never empty, as outcomes get ready, or in the order of the texts. At most `concurrency` batches are
    asked for, or wait to be read, at a time. A batch that fails because of one of its texts is asked for again in
    halves, until the text is found. A blank text fails without being asked for, but not before the first batch has
    answered: nothing is known of a model until then, and a call of which something was sent cannot be tried again.

    Raises:
        Failure: One that concerns every text alike; with `fail_fast`, that of the first text that fails.
    """
    distinct = dict.fromkeys(texts)
    blank = [_Outcome(text, _blank()) for text in distinct if not text.strip()]
    if blank and fail_fast:
        raise _blank()
    todo = deque(_batches([text for text in distinct if text.strip()], batch_size))
    running: deque[asyncio.Task[list[_Outcome]]] = deque()
    order = _InOrder(texts) if in_order else _AsReady(texts)
    dimensions = _Dimensions()
    try:
        if blank and not todo:
            yield order.ready(blank)
        while todo or running:
            while todo and len(running) < concurrency:
                running.append(asyncio.create_task(_outcomes(embed, todo.popleft(), model)))
            for task in await _done(running, first=in_order):
                running.remove(task)
                outcomes = [*blank, *(dimensions.checked(outcome) for outcome in task.result())]
                blank = []
                for outcome in outcomes:
                    if isinstance(outcome.result, Failure) and (fail_fast or outcome.result.aborts_a_run):
                        raise outcome.result
                if ready := order.ready(outcomes):
                    yield ready
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
            # What failed beside the failure that ended us is not news.
            _ = [task.exception() for task in running if not task.cancelled()]


async def embed_all(embed: Embed, texts: Sequence[str], *, model: str = "") -> tuple[list[bytes], str]:
    """Embed texts, all or none, several batches at a time.

    Returns:
        One row for each text, in order, and the model that made them.

    Raises:
        Failure: Of the first text that cannot be embedded.
    """
    rows: list[bytes] = [b""] * len(texts)
    answered_by = ""
    stream = embed_each(embed, texts, model=model, fail_fast=True)
    try:
        async for batch in stream:
            for made in batch:
                assert isinstance(made.result, bytes)  # fail_fast raises the others
                rows[made.index] = made.result
                answered_by = made.model
    finally:
        await stream.aclose()
    return rows, answered_by


class _AsReady:
    """Passes on what is ready."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._places: dict[str, list[int]] = {}
        for index, text in enumerate(texts):
            self._places.setdefault(text, []).append(index)

    def ready(self, outcomes: Iterable[_Outcome]) -> list[Made]:
        return [Made(index, one.result, one.model) for one in outcomes for index in self._places[one.text]]


class _InOrder:
    """Holds back what is ready before its turn."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._last = {text: index for index, text in enumerate(texts)}
        self._next = 0
        self._known: dict[str, _Outcome] = {}

    def ready(self, outcomes: Iterable[_Outcome]) -> list[Made]:
        self._known |= {outcome.text: outcome for outcome in outcomes}
        ready: list[Made] = []
        while self._next < len(self._texts) and (known := self._known.get(self._texts[self._next])) is not None:
            ready.append(Made(self._next, known.result, known.model))
            if self._last[known.text] == self._next:  # nobody asks for it again
                del self._known[known.text]
            self._next += 1
        return ready


class _Dimensions:
    """Sees to it that all vectors of one call are as long as the first."""

    def __init__(self) -> None:
        self._bytes = 0

    def checked(self, outcome: _Outcome) -> _Outcome:
        if isinstance(outcome.result, bytes):
            self._bytes = self._bytes or len(outcome.result)
            if len(outcome.result) != self._bytes:
                text = f"the model sent vectors of {len(outcome.result) // 4} numbers and of {self._bytes // 4}"
                return _Outcome(outcome.text, Unavailable(Reason.PROVIDER_PROTOCOL_ERROR, text))
        return outcome


def _batches(texts: Sequence[str], size: int) -> Iterable[tuple[str, ...]]:
    for start in range(0, len(texts), size):
        yield tuple(texts[start : start + size])


async def _done(running: deque[asyncio.Task[list[_Outcome]]], *, first: bool) -> Sequence[asyncio.Task[list[_Outcome]]]:
    """Wait for the first of the tasks in order, or for any of them."""
    await asyncio.wait([running[0]] if first else running, return_when=asyncio.FIRST_COMPLETED)
    return [running[0]] if first else [task for task in running if task.done()]


async def _outcomes(embed: Embed, texts: tuple[str, ...], model: str) -> list[_Outcome]:
    """Embed one batch; what goes wrong is an outcome, not an exception."""
    try:
        made = await embed(EmbedRequest(texts, model))
    except Failure as failure:
        if len(texts) == 1 or failure.reason not in _OF_ONE_TEXT:
            return [_Outcome(text, failure) for text in texts]
    else:
        return [_Outcome(text, row, made.model) for text, row in zip(texts, made.rows, strict=True)]
    middle = len(texts) // 2
    # One half after the other: the other batches are under way meanwhile.
    return await _outcomes(embed, texts[:middle], model) + await _outcomes(embed, texts[middle:], model)


def _blank() -> Failure:
    violation = Violation("texts", "is empty or blank", Reason.INVALID_INPUT_TEXT)
    return InvalidRequest(Reason.INVALID_INPUT_TEXT, "the text is empty or blank", violations=[violation])
