"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol
from urllib.parse import unquote

from stepwired.errors import Failure
from stepwired.events import ModelInfo
from stepwired.web.convert.replies import model_json
from stepwired.web.exchange import Exchange
from stepwired.web.status import Refused

PREFIX = "/v1/models/"


class Models(Protocol):
    """All models that callers can name."""

    def chat_models(self) -> Sequence[ModelInfo]:
        """The models that can chat, in any order."""

    def embed_models(self) -> Sequence[ModelInfo]:
        """The models that make embeddings, in any order."""

    def info(self, name: str, kind: Literal["chat", "embed"], /) -> ModelInfo:
        """One model by name or alias.

        Raises:
            NotFound: MODEL_NOT_FOUND.
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED, a model of the other kind.
        """


class ModelList:
    """All names that a request can have in `model`: those of the models, then the others that they go by.

    Args:
        models: Which there are.
        created: Since when, in seconds since 1970; nobody knows when a model was made.
    """

    def __init__(self, models: Models, created: int) -> None:
        self._models = models
        self._created = created

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        listed = ",".join(model_json(info, name, self._created) for name, info in self._named())
        await exchange.answer(200, f'{{"object":"list","data":[{listed}]}}'.encode("ascii"))

    def _named(self) -> Iterator[tuple[str, ModelInfo]]:
        known = (*self._models.chat_models(), *self._models.embed_models())
        yield from ((info.name, info) for info in known)
        yield from ((alias, info) for info in known for alias in info.aliases)


class OneModel:
    """One model by any of its names; see `ModelList`."""

    def __init__(self, models: Models, created: int) -> None:
        self._models = models
        self._created = created

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        name = unquote(exchange.path.removeprefix(PREFIX), errors="replace")
        if not name:  # which in a request means: the default
            raise Refused(404, "model_not_found", "the path names no model: `/v1/models` has them all")
        try:
            info = self._models.info(name, "chat")
        except Failure:
            info = self._models.info(name, "embed")
        await exchange.answer(200, model_json(info, name, self._created).encode("ascii"))
