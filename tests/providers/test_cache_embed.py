"""Vectors that are made once: what is known, and what is being made, for whoever asks."""

from __future__ import annotations

import asyncio

import pytest

from stepwired.errors import Failure, InvalidRequest, Reason, Unavailable, Violation
from stepwired.events import Embeddings, Usage, UsageSource, deadline
from stepwired.providers.caching.memory import InMemory
from stepwired.providers.caching.vectors import Vectors
from tests.fakeprov.behaviours import turns
from tests.providers.retrying import time_left


class Embedder:
    """Vectors of the length of a text, once it is let go on."""

    def __init__(self, *, is_open: bool = True, failure: Failure | None = None) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.gate = asyncio.Event()
        self.failure = failure
        self.ended = 0
        self.deadlines: list[float] = []
        if is_open:
            self.gate.set()

    async def make(self, texts: tuple[str, ...]) -> Embeddings:
        self.calls.append(texts)
        try:
            await self.gate.wait()
        finally:
            self.ended += 1
        self.deadlines.append(deadline.get().left_s())
        if self.failure is not None and (self.failure.reason is not Reason.INVALID_INPUT_TEXT or "bad" in texts):
            raise self.failure
        rows = tuple(len(text).to_bytes(4, "little") for text in texts)
        return Embeddings("m", 1, rows, Usage(UsageSource.PROVIDER, input_tokens=len(texts)))


def lengths(made: Embeddings) -> list[int]:
    return [int.from_bytes(row, "little") for row in made.rows]


async def test_each_text_is_computed_once_and_placed_where_it_was_asked() -> None:
    vectors, model = Vectors(InMemory(100_000)), Embedder()
    made = await vectors.embed(b"", ["a", "bb", "a"], model.make)
    assert (lengths(made), made.cache_hits, made.usage.input_tokens) == ([1, 2, 1], 0, 2)
    made = await vectors.embed(b"", ["ccc", "bb", "a"], model.make)
    assert (lengths(made), made.cache_hits, made.usage.input_tokens) == ([3, 2, 1], 2, 1)
    made = await vectors.embed(b"", ["a"], model.make)
    assert (lengths(made), made.cache_hits, made.usage.input_tokens, made.model) == ([1], 1, 0, "m")
    assert model.calls == [("a", "bb"), ("ccc",)]


async def test_another_model_or_key_has_vectors_of_its_own() -> None:
    vectors, model = Vectors(InMemory(100_000)), Embedder()
    for scope in (b"a", b"b", b"a"):
        await vectors.embed(scope, ["x"], model.make)
    assert len(model.calls) == 2


@pytest.mark.parametrize("keeper", [None, InMemory(100_000)])
async def test_texts_that_are_being_computed_are_waited_for(keeper: InMemory | None) -> None:
    vectors, model = Vectors(keeper), Embedder(is_open=False)
    first = asyncio.create_task(vectors.embed(b"", ["a", "bb"], model.make))
    await turns()
    others = [asyncio.create_task(vectors.embed(b"", ["bb", "ccc"], model.make)) for _ in range(50)]
    await turns()
    assert model.calls == [("a", "bb"), ("ccc",)]
    model.gate.set()
    assert lengths(await first) == [1, 2]
    made = await asyncio.gather(*others)
    assert {tuple(lengths(one)) for one in made} == {(2, 3)}
    assert sorted(one.cache_hits for one in made) == [1, *[2] * 49]


async def test_a_waiter_that_leaves_takes_nothing_from_the_others_and_the_last_one_ends_it() -> None:
    vectors, model = Vectors(None), Embedder(is_open=False)
    tasks = [asyncio.create_task(vectors.embed(b"", ["a"], model.make)) for _ in range(3)]
    await turns()
    for task in tasks[:2]:  # the one who began it, too
        task.cancel()
    await turns()
    assert model.ended == 0
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert (model.calls, model.ended) == ([("a",)], 1)
    model.gate.set()
    assert lengths(await vectors.embed(b"", ["a"], model.make)) == [1]  # nobody joins what was ended


async def test_a_failure_is_shared_and_not_kept() -> None:
    vectors, model = Vectors(InMemory(100_000)), Embedder(is_open=False)
    model.failure = Unavailable(Reason.PROVIDER_OVERLOADED, "busy")
    tasks = [asyncio.create_task(vectors.embed(b"", ["a"], model.make)) for _ in range(3)]
    await turns()
    model.gate.set()
    await asyncio.wait(tasks)
    assert {type(task.exception()) for task in tasks} == {Unavailable}
    assert len(model.calls) == 1
    model.failure = None
    assert lengths(await vectors.embed(b"", ["a"], model.make)) == [1]


async def test_a_text_of_somebody_else_that_is_refused_is_not_ones_own_failure() -> None:
    vectors, model = Vectors(None), Embedder(is_open=False)
    model.failure = InvalidRequest(Reason.INVALID_INPUT_TEXT, "too long")
    first = asyncio.create_task(vectors.embed(b"", ["a", "bad"], model.make))
    await turns()
    second = asyncio.create_task(vectors.embed(b"", ["a", "ccc"], model.make))
    await turns()
    model.gate.set()
    assert lengths(await second) == [1, 3]
    with pytest.raises(InvalidRequest):
        await first


async def test_what_is_shared_has_the_time_of_the_last_who_waits() -> None:
    vectors, model = Vectors(None), Embedder(is_open=False)
    tasks = []
    for left_s in (5.0, 500.0, 50.0):
        with time_left(left_s):
            tasks.append(asyncio.create_task(vectors.embed(b"", ["a"], model.make)))
        await turns()
    model.gate.set()
    await asyncio.gather(*tasks)
    [left_s] = model.deadlines
    assert 50.0 < left_s <= 500.0


async def test_no_texts_are_no_vectors() -> None:
    made = await Vectors(None).embed(b"", [], Embedder().make)
    assert (made.rows, made.dimensions) == ((), 0)


async def test_who_shares_a_computation_is_told_of_the_place_in_its_own_list() -> None:
    failure = InvalidRequest.of([Violation("texts[1]", "too long", Reason.INVALID_INPUT_TEXT)])
    vectors, model = Vectors(None), Embedder(is_open=False, failure=failure)
    first = asyncio.create_task(vectors.embed(b"", ["a", "bad"], model.make))
    await turns()
    second = asyncio.create_task(vectors.embed(b"", ["bad", "bad", "a"], model.make))
    await turns()
    model.gate.set()
    places = []
    for task in (first, second):
        with pytest.raises(Failure) as caught:
            await task
        assert (caught.value.reason, type(caught.value)) == (Reason.INVALID_INPUT_TEXT, InvalidRequest)
        places += [violation.field for violation in caught.value.violations]
    assert (places, len(model.calls)) == (["texts[1]", "texts[0]"], 1)
