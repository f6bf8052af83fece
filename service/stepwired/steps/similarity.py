"""Ranks vectors by the angle between them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

_DECIMALS = 7
"""Of a cosine: near 1, floats of four bytes, in which callers see it, are about as far apart."""


async def rank(query: bytes, rows: Sequence[bytes], *, top_k: int | None = None) -> list[tuple[int, float]]:
    """Order `rows` by the cosine of their angle to `query`, best first.

    Args:
        query: One vector: little-endian IEEE 754 floats, four bytes each, all finite.
        rows: Vectors of the same length, 1 or more.
        top_k: At most this many, 1 or more; None for all.

    Returns:
        Index into `rows` and cosine, -1 to 1, to the seven decimals that such vectors carry. Equal cosines by lowest
        index; a vector of zeros has cosine 0.

    Costs `O(n * d)`, in a worker thread: 2,048 rows of 1,536 numbers would hold up the event loop for milliseconds.
    """
    return await asyncio.to_thread(_rank, query, rows, top_k)


def _rank(query: bytes, rows: Sequence[bytes], top_k: int | None) -> list[tuple[int, float]]:
    import numpy as np  # here, since a server that never searches need not load it

    wanted = np.frombuffer(query, dtype="<f4").astype(np.float64)
    matrix = np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), -1).astype(np.float64)
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted)
    products = np.einsum("ij,j->i", matrix, wanted)  # `@` adds up equal rows in different orders
    cosines = np.divide(products, lengths, out=np.zeros(len(rows)), where=lengths > 0)
    # What differs by an ulp is equal, for the order as for whoever compares the scores.
    cosines = np.clip(cosines.round(_DECIMALS), -1.0, 1.0) + 0.0
    best = np.argsort(-cosines, kind="stable")[:top_k]
    return [(int(index), float(cosines[index])) for index in best]
