"""What the servicers want to know about models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from stepwired.events import ModelInfo


class Models(Protocol):
    """All models that callers can name."""

    def chat_models(self) -> Sequence[ModelInfo]:
        """The models that can chat, in any order."""

    def embed_models(self) -> Sequence[ModelInfo]:
        """The models that make embeddings, in any order."""

    def info(self, name: str, kind: Literal["chat", "embed"]) -> ModelInfo:
        """One model by name or alias; the default of its kind if the name is empty.

        Raises:
            NotFound: MODEL_NOT_FOUND.
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED, a model of the other kind.
        """
