from __future__ import annotations

import asyncio
import struct
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.errors import Failure, InvalidRequest, Misconfigured, Reason, Unavailable
from stepwired.events import Embeddings, EmbedRequest
from stepwired.steps.embedding import Made, embed_all, embed_each


def row(text: str) -> bytes:
    return struct.pack("<f", len(text))


class Model:
    """Counts letters; refuses every batch with a text that is bad, as providers do."""

    def __init__(self, bad: str = "", failure: Failure | None = None) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.running = self.most = 0
        self._bad = bad
        self._failure = failure or InvalidRequest(Reason.CONTEXT_LENGTH_EXCEEDED, "exceeds the context length")

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self.asked.append(request.texts)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if self._bad and any(self._bad in text for text in request.texts):
                raise self._failure
            return Embeddings("m", 1, tuple(map(row, request.texts)))
        finally:
            self.running -= 1


async def collect(model: Model, texts: list[str], **options: bool | int) -> list[Made]:
    async with aclosing(embed_each(model.embed, texts, **options)) as batches:  # type: ignore[arg-type]
        return [made async for batch in batches for made in batch]


def said(made: Made) -> bytes | str:
    return made.result.reason if isinstance(made.result, Failure) else made.result


texts_of_few_kinds = st.lists(st.sampled_from(["a", "bb", "ccc", "", " ", "bad", "dddd", "bad 2"]), max_size=40)


@given(texts=texts_of_few_kinds, in_order=st.booleans(), batch_size=st.integers(1, 8), concurrency=st.integers(1, 4))
async def test_every_text_gets_its_own_outcome_once(
    texts: list[str], *, in_order: bool, batch_size: int, concurrency: int
) -> None:
    model = Model(bad="bad")
    made = await collect(model, texts, in_order=in_order, batch_size=batch_size, concurrency=concurrency)
    indices = [one.index for one in made]
    assert (indices if in_order else sorted(indices)) == list(range(len(texts)))
    for one in made:
        text = texts[one.index]
        wanted = "CONTEXT_LENGTH_EXCEEDED" if "bad" in text else row(text) if text.strip() else "INVALID_INPUT_TEXT"
        assert said(one) == wanted
    assert model.most <= concurrency
    good = [text for asked in model.asked for text in asked if "bad" not in text]
    assert not [text for text in good if not text.strip()]  # blank ones are never asked for
    assert all(len(asked) <= batch_size for asked in model.asked)


async def test_equal_texts_are_computed_once() -> None:
    model = Model()
    made = await collect(model, ["a", "b", "a", "b", "a"])
    assert model.asked == [("a", "b")]
    assert len(made) == 5


async def test_several_batches_are_asked_for_at_once() -> None:
    model = Model()
    await collect(model, [str(index) for index in range(100)], batch_size=10, concurrency=4)
    assert model.most == 4


async def test_one_bad_text_costs_few_calls_more() -> None:
    model = Model(bad="bad")
    await collect(model, [*map(str, range(63)), "bad"], batch_size=64)
    assert len(model.asked) == 1 + 2 * 6  # halves of halves, and not 64


async def test_a_failure_that_is_no_texts_fault_is_not_asked_for_again() -> None:
    model = Model(bad="a", failure=Unavailable(Reason.PROVIDER_OVERLOADED, "busy"))
    made = await collect(model, ["a", "b"])
    assert [said(one) for one in made] == ["PROVIDER_OVERLOADED"] * 2
    assert len(model.asked) == 1


async def test_what_concerns_every_text_ends_it_all() -> None:
    model = Model(bad="9", failure=Misconfigured(Reason.PROVIDER_API_KEY_INVALID, "invalid api key"))
    with pytest.raises(Misconfigured):
        await collect(model, [str(index) for index in range(1000)], batch_size=1)
    assert model.running == 0
    assert len(model.asked) < 100


async def test_fail_fast_stops_the_rest() -> None:
    model = Model(bad="3")
    with pytest.raises(InvalidRequest):
        await collect(model, [str(index) for index in range(1000)], batch_size=1, fail_fast=True)
    assert model.running == 0
    assert len(model.asked) < 100


async def test_a_reader_that_does_not_read_stops_the_asking() -> None:
    model = Model()
    async with aclosing(embed_each(model.embed, [str(index) for index in range(100)], batch_size=1)) as batches:
        await anext(batches)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(model.asked) <= 8
    assert model.running == 0


async def test_vectors_of_two_lengths_are_a_protocol_error() -> None:
    async def embed(request: EmbedRequest) -> Embeddings:
        return Embeddings("m", len(request.texts[0]), tuple(bytes(4 * len(text)) for text in request.texts))

    async with aclosing(embed_each(embed, ["a", "bb"], in_order=True, batch_size=1)) as batches:
        made = [one async for batch in batches for one in batch]
    assert [said(one) for one in made] == [bytes(4), "PROVIDER_PROTOCOL_ERROR"]


async def test_all_or_none_in_order() -> None:
    texts = [str(index) * (index % 5 + 1) for index in range(100)]
    assert await embed_all(Model().embed, texts) == ([row(text) for text in texts], "m")
    with pytest.raises(InvalidRequest):
        await embed_all(Model(bad="99").embed, texts)
