"""Embeddings as float32 arrays. numpy is loaded by the first one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepwire import errors
from stepwire.v1 import message_pb2

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def vector(embedding: message_pb2.Embedding) -> npt.NDArray[np.float32]:
    """Read one embedding as an array of shape `(d,)`."""
    import numpy as np

    return np.array(embedding.values, dtype=np.float32)


def matrix(embeddings: Sequence[message_pb2.Embedding]) -> npt.NDArray[np.float32]:
    """Read embeddings as one array of shape `(n, d)`, or `(0, 0)` if there are none.

    Raises:
        ServerError: They differ in length.

    Row by row into place: 2.8 ms for 1000 x 1536, against 6.6 for an array of all lists.
    """
    import numpy as np

    dimensions = len(embeddings[0].values) if embeddings else 0
    rows = np.empty((len(embeddings), dimensions), dtype=np.float32)
    for index, embedding in enumerate(embeddings):
        if len(embedding.values) != dimensions:
            raise errors.ServerError("vectors of one call differ in length", code="INTERNAL")
        rows[index] = embedding.values
    return rows
