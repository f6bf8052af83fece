"""The order of documents by meaning."""

from __future__ import annotations

import numpy as np
import pytest

from stepwired.steps.similarity import rank


def rows(count: int, dimensions: int, seed: int) -> list[bytes]:
    made = np.random.default_rng(seed).standard_normal((count, dimensions)).astype("<f4")
    return [row.tobytes() for row in made]


@pytest.mark.parametrize("dimensions", [3, 256, 384, 1536])
async def test_equal_vectors_come_in_the_order_of_their_index_wherever_they_stand(dimensions: int) -> None:
    for seed in range(20):
        query, one, other, third = rows(4, dimensions, seed)
        documents = [other, one, third, one, one, other, one, third, one, one, one]
        found = await rank(query, documents)
        assert sorted(index for index, _ in found) == list(range(len(documents)))
        for same in (one, other, third):
            places = [(index, score) for index, score in found if documents[index] == same]
            assert places == sorted(places)
            assert len({score for _, score in places}) == 1
        best = found[0][0]
        assert await rank(query, documents, top_k=1) == found[:1]
        assert best == documents.index(documents[best])


async def test_a_vector_that_only_is_longer_is_equal() -> None:
    query, one = rows(2, 384, 1)
    longer = [(np.frombuffer(one, "<f4") * factor).astype("<f4").tobytes() for factor in (3, 1, 0.7, 5)]
    found = await rank(query, longer)
    assert [index for index, _ in found] == [0, 1, 2, 3]
    assert len({score for _, score in found}) == 1


async def test_a_score_is_the_cosine_and_a_vector_of_zeros_has_none() -> None:
    query, *others = rows(50, 384, 2)
    others.append(bytes(4 * 384))
    wanted = np.frombuffer(query, "<f4").astype(float)
    for index, score in await rank(query, others):
        row = np.frombuffer(others[index], "<f4").astype(float)
        length = np.linalg.norm(row) * np.linalg.norm(wanted)
        assert score == pytest.approx(row @ wanted / length if length else 0, abs=1e-7)
        assert -1 <= score <= 1
    assert [score for _, score in await rank(query, [query, (-np.frombuffer(query, "<f4")).tobytes()])] == [1, -1]
