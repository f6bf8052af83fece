"""Turns the name of a model into replies and vectors: names, aliases and defaults in, calls of an endpoint out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Literal

from stepwired.errors import Failure, NotFound, Reason, Subject
from stepwired.events import (
    Batch,
    Chat,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    ModelInfo,
)
from stepwired.providers import faults
from stepwired.providers.base import Endpoint, ModelEntry, Wire
from stepwired.providers.caching.memory import digest
from stepwired.providers.caching.replies import Replies
from stepwired.providers.caching.vectors import Vectors
from stepwired.providers.catalogue.abilities import abilities, refusal
from stepwired.providers.catalogue.pictures import Kept, StoredPictures
from stepwired.providers.cost import priced
from stepwired.providers.counting.counting import guard
from stepwired.providers.net.http import Http
from stepwired.providers.retrying.budget import RetryBudget
from stepwired.providers.retrying.retry import Retry, Route
from stepwired.providers.wires.table import WIRES

Kind = Literal["chat", "embed"]

_FALLBACKS = 8
"""Of one model, those of its fallbacks included: all are tried one after the other, while the caller waits."""

_KINDS: tuple[Kind, ...] = ("chat", "embed")
_FEATURE: Mapping[Kind, str] = {"chat": "chat", "embed": "embeddings"}


class Catalogue:
    """All models of this server. `chat` and `embed` are `events.Chat` and `events.Embed`.

    Args:
        endpoints: Servers, each name once.
        models: Models, each name and alias once; at most one default of a kind, else the first is it.
        http: Connections; closed by whoever made them.
        kept: Where stored pictures are; None: there are none.
        retry: What tries again.
        replies: Whole replies that are kept; None: none are.
        vectors: Vectors that are kept or being made; None: each call makes its own.

    Raises:
        ValueError: They do not fit together; the text says what to change.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        models: Iterable[ModelEntry],
        http: Http,
        kept: Kept | None = None,
        *,
        retry: Retry | None = None,
        replies: Replies | None = None,
        vectors: Vectors | None = None,
    ) -> None:
        self._pictures = StoredPictures(kept)
        self._retry = retry or Retry()
        self._replies = replies
        self._vectors = vectors
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
        self._defaults: dict[Kind, ModelEntry | None] = {kind: self._default(kind) for kind in _KINDS}
        budgets = {name: RetryBudget() for name in self._endpoints}
        routes = {model.name: self._route(model, budgets[model.endpoint]) for model in self._models}
        # Of the first model, whoever asks sees to it that it can read as much.
        others = {name: replace(route, chat=guard(route.model, route.chat)) for name, route in routes.items()}
        self._routes = {
            model.name: (routes[model.name], *(others[each.name] for each in self._fallbacks(model)))
            for model in self._models
        }

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
            raise faults.unsupported(name, _FEATURE[kind], f"{name} is no model for {_FEATURE[kind]}")
        return model

    def place(self, name: str) -> tuple[ModelEntry, Wire]:
        """The chat model of this name or alias, and how it is asked; see `resolve`."""
        model = self.resolve(name, "chat")
        return model, self._wires[model.endpoint]

    def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        """Make one reply.

        Raises:
            Failure: At once if the model cannot be resolved or cannot do what is asked, as `check`; while it is read,
                as `Retry.chat`, BLOB_NOT_FOUND, or CONCURRENCY_LIMITED: too many pictures are being sent.
        """
        model = self.check(request)
        if self._replies is not None and request.options.cache:
            chat = partial(self._attempts, model)
            return self._replies.chat(self._endpoints[model.endpoint], model, request, chat)
        return self._attempts(model, request)

    def check(self, request: ChatRequest) -> ModelEntry:
        """The model that would answer.

        Raises:
            NotFound: MODEL_NOT_FOUND.
            InvalidRequest: MODEL_FEATURE_UNSUPPORTED or MAX_TOKENS_TOO_LARGE: it cannot do what is asked.
        """
        model = self.resolve(request.model, "chat")
        if (failure := self._refusal(model, request)) is not None:
            raise failure
        return model

    def _refusal(self, model: ModelEntry, request: ChatRequest) -> Failure | None:
        """Why it is not even asked, because of itself or of its wire."""
        if (failure := refusal(model, request)) is None:
            try:
                self._wires[model.endpoint].check(self._asked(model, request))
            except Failure as unsupported:
                unsupported.metadata["model"] = model.name  # the caller knows no other
                return unsupported
        return failure

    def _asked(self, model: ModelEntry, request: ChatRequest) -> ChatRequest:
        """The request as its wire is asked."""
        # A key that a caller brought goes to no endpoint that has its own.
        key = request.caller_key if self._endpoints[model.endpoint].keys == "caller" else ""
        options = request.options
        if options.max_tokens is None and self._wires[model.endpoint].needs_max_tokens:
            options = replace(options, max_tokens=model.max_output_tokens)
        return replace(request, model=model.provider_model, caller_key=key, options=options)

    def checked(self, chat: Chat) -> Chat:
        """`chat`, which refuses at once what `check` refuses: before it stores a message that nobody will answer."""

        def run(request: ChatRequest) -> AsyncGenerator[Batch, None]:
            self.check(request)
            return chat(request)

        return run

    def _attempts(self, model: ModelEntry, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        first, *others = self._routes[model.name]
        # A fallback that could not do it would only hide why the first failed.
        able = [route for route in others if self._refusal(route.model, request) is None and _has_key(route, request)]
        return self._retry.chat([first, *able], request)

    def _route(self, model: ModelEntry, budget: RetryBudget) -> Route:
        endpoint, wire = self._endpoints[model.endpoint], self._wires[model.endpoint]

        def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
            return self._pictures.chat(wire.chat, self._asked(model, request))

        return Route(model, endpoint, budget, chat)

    def _fallbacks(self, model: ModelEntry) -> Sequence[ModelEntry]:
        """All models that are asked in its place, in order: each fallback, then those of its own."""
        found: dict[str, ModelEntry] = {}

        def add(one: ModelEntry, path: tuple[str, ...]) -> None:
            for name in one.fallbacks:
                other = self._by_name.get(name)
                if other is None or other.kind != "chat" or one.kind != "chat":
                    raise ValueError(f"model {one.name}: a fallback has to be a model for chat, which {name!r} is not")
                if other.name in path:
                    raise ValueError(f"model {one.name}: its fallbacks lead back to {other.name}")
                if other.name not in found:
                    found[other.name] = other
                    add(other, (*path, other.name))

        if model.kind == "embed" and model.fallbacks:
            raise ValueError(f"model {model.name}: takes no fallbacks: vectors of two models cannot be compared")
        add(model, (model.name,))
        if len(found) > _FALLBACKS:
            raise ValueError(f"model {model.name}: has {len(found)} fallbacks, and at most {_FALLBACKS} are tried")
        return tuple(found.values())

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Turn texts into vectors, in as many calls as the provider needs, some of them at once.

        Raises:
            Failure: Of the first call that fails; PROVIDER_PROTOCOL_ERROR if vectors have an unexpected length.
        """
        model = self.resolve(request.model, "embed")
        endpoint = self._endpoints[model.endpoint]
        key = request.caller_key if endpoint.keys == "caller" else ""
        compute = partial(self._embed, model, key)
        if self._vectors is None:
            return await compute(request.texts)
        names = (endpoint.name, endpoint.identity, model.provider_model, str(model.dimensions), key)
        return await self._vectors.embed(digest(*map(str.encode, names)), request.texts, compute)

    async def _embed(self, model: ModelEntry, key: str, texts: tuple[str, ...]) -> Embeddings:
        wire, route = self._wires[model.endpoint], self._routes[model.name][0]
        asked = EmbedRequest(texts, model.provider_model, key)
        made = await wire.embed(asked, model.dimensions, partial(self._retry.embed, route))
        wanted = model.dimensions or made.dimensions
        if texts and made.dimensions != wanted:
            text = f"sent vectors of {made.dimensions} numbers for {model.name}, not of {wanted}"
            raise faults.nonsense(model.endpoint, text)
        return replace(made, dimensions=wanted, usage=priced(made.usage, model.price))

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
            context_length=model.context_length,
            max_output_tokens=model.max_output_tokens,
            abilities=abilities(model),
            price=model.price,
            fallbacks=tuple(route.model.name for route in self._routes[model.name][1:]),
        )

    def _default(self, kind: Kind) -> ModelEntry | None:
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


def _has_key(route: Route, request: ChatRequest) -> bool:
    return route.endpoint.keys != "caller" or bool(request.caller_key)
