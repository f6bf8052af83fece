"""Turns texts into vectors: tokens, the ONNX model, mean pooling, unit length. Runs in a child process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwired.local import catalogue
from stepwired.local.child import Parent, usable_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

#: What the model was trained for. Its arithmetic would take 512 and the vectors would mean less.
MAX_TOKENS = 256
#: Texts, and tokens with padding, computed at once. More is not faster: 16 texts of 200 tokens took 987 MB at the
#: peak, 4 take 500.
_BATCH_TEXTS = 16
_BATCH_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be chosen for an embedding model."""

    model_dir: Path
    name: str
    """What replies say answered."""

    port: int = 0
    """0: a free one."""


class TextTooLong(Exception):
    """A text has more tokens than the model reads. It is refused, not cut: a cut text has another meaning."""

    def __init__(self, index: int, token_count: int) -> None:
        super().__init__(f"text {index} has {token_count} tokens; this model reads at most {MAX_TOKENS}")
        self.index = index
        self.token_count = token_count


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of some texts, in their order, each with its opening and closing token."""

    ids: list[list[int]]

    @property
    def count(self) -> int:
        """All tokens together."""
        return sum(map(len, self.ids))


class Embedder:
    """The model in memory. Its methods block, so call them on a thread; one call at a time uses all cores."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / catalogue.TOKENIZER_FILE))
        # As packaged it pads everything to 128 tokens and cuts what is longer.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores too
        options.enable_cpu_mem_arena = False  # it never gives memory back: 451 MB after long texts, 246 without
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / catalogue.EMBED_FILE), options, providers=["CPUExecutionProvider"]
        )
        self.dimensions: int = self._session.get_outputs()[0].shape[-1]

    def tokenize(self, texts: list[str]) -> Tokens:
        """Cut texts into tokens.

        Raises:
            TextTooLong: The first text that is too long.
        """
        tokens = Tokens([encoding.ids for encoding in self._tokenizer.encode_batch(texts)])
        for index, ids in enumerate(tokens.ids):
            if len(ids) > MAX_TOKENS:
                raise TextTooLong(index, len(ids))
        return tokens

    def embed(self, rows: list[list[int]]) -> Vectors:
        """Unit vectors of tokenized texts, one row each, in their order. Cost: rows × the longest row."""
        import numpy as np

        longest = max(map(len, rows))
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states: Any = self._session.run(None, feed)[0]  # text × token × dimension
        weights = mask[:, :, None].astype(np.float32)
        means = (states * weights).sum(axis=1) / weights.sum(axis=1)
        unit: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
        return unit


def batches(rows: Iterable[list[int]]) -> Iterator[list[int]]:
    """Positions of the rows to compute together: alike in length, since all are padded to the longest."""
    lengths = [len(row) for row in rows]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batch: list[int] = []
    for position in order:  # the longest comes last, and decides the padding
        if batch and (len(batch) == _BATCH_TEXTS or (len(batch) + 1) * lengths[position] > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def serve(settings: Settings) -> None:
    """Load the model, announce the port, and serve. Never returns."""
    parent = Parent()
    parent.watch()
    from stepwired.local import wire

    wire.serve(parent, Embedder(settings.model_dir), settings.name, settings.port)
