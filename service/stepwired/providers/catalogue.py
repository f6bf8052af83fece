"""Turns the name of a model into replies and vectors: names, aliases and defaults in, calls of an endpoint out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from difflib import get_close_matches
from typing import Literal

from stepwired.errors import Failure, InvalidRequest, NotFound, Reason, Subject, Throttled, Violation
from stepwired.events import (
    Batch,
    Chat,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Image,
    Message,
    ModelInfo,
    Usage,
    UsageSource,
)
from stepwired.limits import MIB
from stepwired.providers import faults
from stepwired.providers.base import Endpoint, ModelEntry, Wire
from stepwired.providers.http import Http
from stepwired.providers.openai import OpenAI

Kind = Literal["chat", "embed"]

#: The wire formats that an endpoint can name.
WIRES: Mapping[str, Callable[[Endpoint, Http], Wire]] = {"openai": OpenAI}

_IMAGES_BYTES = 64 * MIB
"""Of all stored pictures that one request to a model is made of, which are in memory at once."""

_ALL_IMAGES_BYTES = 512 * MIB
"""Of the stored pictures of all requests that are not yet sent, together."""

#: The bytes of a stored picture.
Resolve = Callable[[str], Awaitable[bytes]]

_FEATURE = {"chat": "chat", "embed": "embeddings"}


class Catalogue:
    """All models of this server. `chat` and `embed` are `events.Chat` and `events.Embed`.

    Args:
        endpoints: Servers, each name once.
        models: Models, each name and alias once; at most one default of a kind, else the first is it.
        http: Connections; closed by whoever made them.
        resolve: The bytes of a stored picture, by its `blob_id`; raises NotFound BLOB_NOT_FOUND.

    Raises:
        ValueError: They do not fit together; the text says what to change.
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], models: Iterable[ModelEntry], http: Http, resolve: Resolve | None = None
    ) -> None:
        self._resolve_blob = resolve
        self._held_bytes = 0
        self._endpoints: dict[str, Endpoint] = {}
        self._wires: dict[str, Wire] = {}
        for endpoint in endpoints:
            if endpoint.name in self._endpoints:
                raise ValueError(f"endpoint {endpoint.name} is there twice")
            if endpoint.wire not in WIRES:
                known = ", ".join(sorted(WIRES))
                raise ValueError(f"endpoint {endpoint.name}: unknown wire {endpoint.wire!r}, known are: {known}")
            self._endpoints[endpoint.name] = endpoint
            self._wires[endpoint.name] = WIRES[endpoint.wire](endpoint, http)
        self._models = tuple(models)
        self._by_name: dict[str, ModelEntry] = {}
        for model in self._models:
            if model.endpoint not in self._endpoints:
                raise ValueError(f"model {model.name}: there is no endpoint {model.endpoint!r}")
            for name in (model.name, *model.aliases):
                if name in self._by_name:
                    raise ValueError(f"model {model.name}: the name {name!r} is taken by {self._by_name[name].name}")
                self._by_name[name] = model
        self._defaults = {kind: self._default(kind) for kind in ("chat", "embed")}

    def resolve(self, name: str, kind: Kind) -> ModelEntry:
        """The model of this name or alias; the default one if the name is empty.

        Raises:
            NotFound: MODEL_NOT_FOUND, with names that are near.
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED: the model is of the other kind.
        """
        model = self._by_name.get(name) if name else self._defaults[kind]
        if model is None:
            raise self._unknown(name, kind)
        if model.kind != kind:
            raise _unsupported(name, _FEATURE[kind], f"{name} is no model for {_FEATURE[kind]}")
        return model

    def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """Make one reply. No generator of our own: each would be one more step on every token's way.

        Raises:
            Failure: At once if the model cannot be resolved or cannot do what is asked, as `check`; while it is read,
                as the wire says, BLOB_NOT_FOUND, or CONCURRENCY_LIMITED: too many pictures are being sent.
        """
        model = self.check(request)
        request, wire = replace(request, model=model.provider_model), self._wires[model.endpoint]
        if any(_is_stored(image) for message in request.messages for image in message.images):
            return self._chat_with_stored(wire, request)
        return wire.chat(request)

    def check(self, request: ChatRequest) -> ModelEntry:
        """The model that would answer.

        Raises:
            NotFound: MODEL_NOT_FOUND.
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED: it makes no replies, or is to look at pictures and cannot.
        """
        model = self.resolve(request.model, "chat")
        if not model.images and any(message.images for message in request.messages):
            raise _unsupported(model.name, "images", f"{model.name} cannot look at images")
        return model

    def checked(self, chat: Chat) -> Chat:
        """`chat`, which refuses at once what `check` refuses: before it stores a message that nobody will answer."""

        def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
            self.check(request)
            return chat(request)

        return run

    async def _chat_with_stored(self, wire: Wire, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        size = sum(image.size_bytes for message in request.messages for image in message.images)
        if size > _IMAGES_BYTES:
            text = f"these messages have {size} bytes of images, and a model is sent at most {_IMAGES_BYTES}"
            raise InvalidRequest(Reason.IMAGE_TOO_LARGE, text, metadata={"limitBytes": str(_IMAGES_BYTES)})
        self._hold(size)
        try:
            # Without a name for what is large: only the wire has it, until it is sent.
            batches = wire.chat(
                replace(request, messages=tuple([await self._with_bytes(message) for message in request.messages]))
            )
            async with aclosing(batches):
                async for batch in batches:
                    self._held_bytes -= size  # an answer comes, so all is sent
                    size = 0
                    yield batch
        finally:
            self._held_bytes -= size

    def _hold(self, size: int) -> None:
        if self._held_bytes + size > _ALL_IMAGES_BYTES:
            text = f"requests with {_ALL_IMAGES_BYTES} bytes of images are being sent already; try again"
            raise Throttled(
                Reason.CONCURRENCY_LIMITED,
                text,
                metadata={"limit": str(_ALL_IMAGES_BYTES)},
                subject=Subject("server", "images"),
            )
        self._held_bytes += size

    async def _with_bytes(self, message: Message) -> Message:
        if not any(map(_is_stored, message.images)):
            return message
        assert self._resolve_blob is not None, "who lets pictures be stored also says how they are read"
        images = [
            replace(image, data=await self._resolve_blob(image.blob_id)) if _is_stored(image) else image
            for image in message.images
        ]
        return replace(message, images=tuple(images))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors, in as many calls as the provider needs, one after the other.

        Raises:
            Failure: Of the first call that fails; PROVIDER_PROTOCOL_ERROR if vectors have an unexpected length.
        """
        model = self.resolve(request.model, "embed")
        wire, size = self._wires[model.endpoint], self._endpoints[model.endpoint].embed_batch
        parts: list[Embeddings] = []
        for start in range(0, len(request.texts), size):
            texts = request.texts[start : start + size]
            part = await wire.embed(EmbedRequest(texts, model.provider_model), model.dimensions)
            wanted = model.dimensions or (parts[0].dimensions if parts else part.dimensions)
            if part.dimensions != wanted:
                text = f"sent vectors of {part.dimensions} numbers for {model.name}, not of {wanted}"
                raise faults.nonsense(model.endpoint, text)
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        rows = tuple(row for part in parts for row in part.rows)
        first_model = parts[0].model if parts else model.provider_model
        dimensions = parts[0].dimensions if parts else model.dimensions or 0
        return Embeddings(first_model, dimensions, rows, _sum(part.usage for part in parts))

    def chat_models(self) -> list[ModelInfo]:
        """All chat models, in the order of the configuration."""
        return self._infos("chat")

    def embed_models(self) -> list[ModelInfo]:
        """All models that make vectors, in the order of the configuration."""
        return self._infos("embed")

    def info(self, name: str, kind: Kind) -> ModelInfo:
        """One model, by name or alias; see `resolve`."""
        return self._info(self.resolve(name, kind))

    def _infos(self, kind: Kind) -> list[ModelInfo]:
        return [self._info(model) for model in self._models if model.kind == kind]

    def _info(self, model: ModelEntry) -> ModelInfo:
        return ModelInfo(
            name=model.name,
            aliases=model.aliases,
            endpoint=model.endpoint,
            provider_model=model.provider_model,
            is_default=model is self._defaults[model.kind],
            dimensions=model.dimensions,
        )

    def _default(self, kind: str) -> ModelEntry | None:
        models = [model for model in self._models if model.kind == kind]
        chosen = [model for model in models if model.is_default]
        if len(chosen) > 1:
            names = " and ".join(model.name for model in chosen)
            raise ValueError(f"{names} are all the default for {_FEATURE[kind]}: leave one")
        return next(iter(chosen or models), None)

    def _unknown(self, name: str, kind: Kind) -> Failure:
        if not name:
            text = f"no model for {_FEATURE[kind]} is configured"
        else:
            text = f"there is no model {name[:100]!r}"
            of_kind = [known for known, model in self._by_name.items() if model.kind == kind]
            if near := get_close_matches(name[:100], of_kind, n=3):
                text += "; did you mean " + " or ".join(near) + "?"
        facts = {"model": name[:100]}
        return NotFound(Reason.MODEL_NOT_FOUND, text, metadata=facts, subject=Subject("model", name[:100]))


def _is_stored(image: Image) -> bool:
    """Whether its bytes have still to be read."""
    return bool(image.blob_id) and not image.data


def _unsupported(model: str, feature: str, text: str) -> InvalidRequest:
    facts = {"model": model, "feature": feature}
    violation = Violation("model", text, Reason.MODEL_FEATURE_UNSUPPORTED)
    return InvalidRequest(Reason.MODEL_FEATURE_UNSUPPORTED, text, metadata=facts, violations=[violation])


def _sum(usages: Iterable[Usage]) -> Usage:
    """What several calls used together; unknown as soon as one did not say."""
    counts = [usage.input_tokens for usage in usages]
    if not counts or None in counts:
        return Usage()
    return Usage(UsageSource.PROVIDER, input_tokens=sum(count for count in counts if count is not None))
