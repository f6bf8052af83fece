from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from stepwire.v1 import embed_pb2, message_pb2
from stepwired.rpc import vectors

numbers = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=300)


@given(rows=st.lists(numbers, max_size=4), model=st.text(max_size=5), is_indexed=st.booleans())
def test_raw_bytes_make_the_same_message_as_numbers(rows: list[list[float]], model: str, *, is_indexed: bool) -> None:
    fast, slow = embed_pb2.EmbedResponse(), embed_pb2.EmbedResponse()
    for index, row in enumerate(rows):
        at = index if is_indexed else None
        vectors.write(fast.embeddings.add(), struct.pack(f"<{len(row)}f", *row), model, at)
        slow.embeddings.add(values=row, model=model, index=at)
    assert fast == slow
    assert fast.SerializeToString(deterministic=True) == slow.SerializeToString(deterministic=True)


def test_every_length_of_a_length_is_written() -> None:
    for dimensions in (0, 1, 31, 32, 4095, 4096, 600_000):
        made = message_pb2.Embedding()
        vectors.write(made, bytes(4 * dimensions), "m")
        assert len(made.values) == dimensions
        assert not made.HasField("index")
