"""The embedding model's HTTP face: `/v1/embeddings`, `/v1/models` and `/health`, as OpenAI clients know them."""

from __future__ import annotations

import asyncio
import base64
import hmac
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import msgspec
import numpy as np
from aiohttp import web

from stepwired.local.child import Parent
from stepwired.local.embed import MAX_TOKENS, Embedder, TextTooLong, batches

Vector = np.ndarray[Any, np.dtype[np.float32]]

MAX_TEXTS = 2048
#: As many texts of 32 KiB as a request may hold, with room for JSON's escapes.
_BODY_BYTES = 160 << 20


class Refusal(Exception):
    """An answer that says no, in the shape of OpenAI's errors."""

    def __init__(self, status: int, message: str, code: str, **more: str | int) -> None:
        super().__init__(message)
        kind = "authentication_error" if status == 401 else "invalid_request_error"
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "code": code, **more}}


class EmbeddingsRequest(msgspec.Struct):
    """What is read of a request. `model` is accepted and not looked at: one model is served here."""

    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to embed, in order."""
        return [self.input] if isinstance(self.input, str) else self.input


class EmbeddingsServer:
    """Answers requests. Texts are computed in small batches on one thread, so requests take turns."""

    def __init__(self, embedder: Embedder, name: str, api_key: str) -> None:
        self._embedder = embedder
        self._name = name
        self._authorization = f"Bearer {api_key}".encode()
        self._thread = ThreadPoolExecutor(1, "embed")

    def application(self) -> web.Application:
        """The routes, behind the key, with readable refusals."""
        app = web.Application(client_max_size=_BODY_BYTES, middlewares=[self._guard])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/embeddings", self._embeddings)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if request.path != "/health" and not hmac.compare_digest(given, self._authorization):
            return _refuse(Refusal(401, "a bearer key is required", "invalid_api_key"))
        try:
            answer: web.StreamResponse = await handler(request)
            return answer
        except Refusal as refusal:
            return _refuse(refusal)
        except web.HTTPException as failure:
            return _refuse(Refusal(failure.status, failure.reason, "invalid_request"))

    async def _health(self, _: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _models(self, _: web.Request) -> web.Response:
        return _json({"object": "list", "data": [{"id": self._name, "object": "model", "owned_by": "local"}]})

    async def _embeddings(self, request: web.Request) -> web.Response:
        wanted = self._checked(await request.read())
        loop = asyncio.get_running_loop()
        try:
            tokens = await loop.run_in_executor(self._thread, self._embedder.tokenize, wanted.texts)
        except TextTooLong as failure:
            raise Refusal(
                400,
                str(failure),
                "context_length_exceeded",
                param=f"input[{failure.index}]",
                n_prompt_tokens=failure.token_count,
                n_ctx=MAX_TOKENS,
            ) from failure
        vectors = np.empty((len(tokens.ids), self._embedder.dimensions), "<f4")
        # A hang-up cancels this handler: what is computed at that moment is the last.
        for positions in batches(tokens.ids):
            rows = [tokens.ids[position] for position in positions]
            vectors[positions] = await loop.run_in_executor(self._thread, self._embedder.embed, rows)
        encode = _base64 if wanted.encoding_format == "base64" else _floats
        data = [{"object": "embedding", "index": i, "embedding": encode(vector)} for i, vector in enumerate(vectors)]
        usage = {"prompt_tokens": tokens.count, "total_tokens": tokens.count}
        return _json({"object": "list", "data": data, "model": self._name, "usage": usage})

    def _checked(self, body: bytes) -> EmbeddingsRequest:
        try:
            wanted = msgspec.json.decode(body, type=EmbeddingsRequest)
        except msgspec.DecodeError as failure:
            raise Refusal(400, str(failure), "invalid_request") from failure
        if not 1 <= len(wanted.texts) <= MAX_TEXTS:
            message = f"input has {len(wanted.texts)} texts; 1 to {MAX_TEXTS} are accepted"
            raise Refusal(400, message, "invalid_request", param="input")
        for index, text in enumerate(wanted.texts):
            if not text.strip():
                raise Refusal(400, f"text {index} is empty", "invalid_request", param=f"input[{index}]")
        if wanted.dimensions not in {None, self._embedder.dimensions}:
            message = f"dimensions is {wanted.dimensions}; this model has {self._embedder.dimensions} and no other"
            raise Refusal(400, message, "invalid_request", param="dimensions")
        return wanted


def _refuse(refusal: Refusal) -> web.Response:
    return _json(refusal.body, refusal.status)


def _floats(vector: Vector) -> list[float]:
    return [float(number) for number in vector]


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.tobytes()).decode("ascii")  # little-endian: the array's type says so


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def serve(parent: Parent, embedder: Embedder, name: str, port: int) -> None:
    """Serve until the parent ends. Never returns."""

    async def run() -> None:
        app = EmbeddingsServer(embedder, name, parent.api_key).application()
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, keepalive_timeout=600.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        parent.announce(runner.addresses[0][1])
        await asyncio.Event().wait()  # the watch of the parent ends the process

    asyncio.run(run())
