"""Embeddings as float32 arrays. numpy is loaded by the first one, and need not be there before."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from stepwire import errors
from stepwire.v1 import message_pb2

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def vector(embedding: message_pb2.Embedding) -> npt.NDArray[np.float32]:
    """Read one embedding as an array of shape `(d,)`.

    Raises:
        ImportError: numpy is missing.
    """
    made: npt.NDArray[np.float32] = _numpy().array(embedding.values, dtype="float32")
    return made


def matrix(embeddings: Sequence[message_pb2.Embedding]) -> npt.NDArray[np.float32]:
    """Read embeddings as one array of shape `(n, d)`, or `(0, 0)` if there are none.

    Raises:
        ImportError: numpy is missing.
        ServerError: They differ in length.

    Row by row into place: 2.8 ms for 1000 x 1536, against 6.6 for an array of all lists.
    """
    dimensions = len(embeddings[0].values) if embeddings else 0
    rows: npt.NDArray[np.float32] = _numpy().empty((len(embeddings), dimensions), dtype="float32")
    for index, embedding in enumerate(embeddings):
        if len(embedding.values) != dimensions:
            raise errors.ServerError("vectors of one call differ in length", code="INTERNAL")
        rows[index] = embedding.values
    return rows


def _numpy() -> ModuleType:
    try:
        import numpy as np
    except ImportError as missing:
        raise ImportError("embeddings are arrays of numpy: pip install 'stepwire[numpy]'") from missing
    return np
