"""What every wire that makes vectors does with many texts, and with servers of all kinds, on real sockets."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import Embeddings, EmbedRequest
from stepwired.providers.embedding.ask import EmbedFormat
from stepwired.providers.net.http import Http
from stepwired.providers.wires.cohere import CohereEmbed
from stepwired.providers.wires.gemini.embed import GeminiEmbed
from stepwired.providers.wires.ollama.embed import OllamaEmbed
from stepwired.providers.wires.openai.embed import OpenAIEmbed
from tests.fakeprov import Behaviour, Connection, Exchange, Provider, behaviours
from tests.providers.conftest import KEY, ask
from tests.providers.wires import make

FORMATS: dict[str, EmbedFormat] = {
    "openai": OpenAIEmbed(),
    "gemini": GeminiEmbed(),
    "ollama": OllamaEmbed(),
    "cohere": CohereEmbed(),
}
each_wire = pytest.mark.parametrize("kind", FORMATS)


def texts_of(kind: str, asked: Any) -> list[str]:
    """The texts of a request."""
    if kind == "gemini":
        return [request["content"]["parts"][0]["text"] for request in asked["requests"]]
    texts: list[str] = asked["texts" if kind == "cohere" else "input"]
    return texts


def answer(kind: str, rows: list[Any], tokens: int | None = 5) -> dict[str, Any]:
    """An answer as the documentation has it."""
    match kind:
        case "openai":
            data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
            return {"object": "list", "data": data, "model": "e-1", "usage": {"prompt_tokens": tokens}}
        case "gemini":
            usage = {"usageMetadata": {"promptTokenCount": tokens}} if tokens is not None else {}
            return {"embeddings": [{"values": row} for row in rows]} | usage
        case "ollama":
            counted = {"prompt_eval_count": tokens} if tokens is not None else {}
            return {"model": "e-1", "embeddings": rows, "total_duration": 14143917, "load_duration": 1019500} | counted
        case _:
            meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}}
            return {"id": "5807ee2e", "embeddings": {"float": rows}, "texts": ["a, b,"], "meta": meta}


def lengths(kind: str) -> Behaviour:
    """Vectors of the texts' lengths."""

    async def behave(exchange: Exchange) -> None:
        rows = [[float(len(text)), 0.5] for text in texts_of(kind, exchange.request.json())]
        await exchange.body(json.dumps(answer(kind, rows)).encode())

    return behave


async def embed(kind: str, http: Http, base_url: str, *texts: str, **options: Any) -> Embeddings:
    dimensions = options.pop("dimensions", None)
    wire = make(kind, http, base_url, **options)
    made: Embeddings = await wire.embed(EmbedRequest(texts, "m"), dimensions)  # type: ignore[attr-defined]
    return made


def first_numbers(made: Embeddings) -> list[float]:
    return [struct.unpack_from("<f", row)[0] for row in made.rows]


REQUESTS = {
    "openai": ("/v1/embeddings", {"model": "m", "input": ["a", "bb"], "encoding_format": "base64"}),
    "gemini": (
        "/v1/models/m:batchEmbedContents",
        {"requests": [{"model": "models/m", "content": {"parts": [{"text": text}]}} for text in ("a", "bb")]},
    ),
    "ollama": ("/v1/api/embed", {"model": "m", "input": ["a", "bb"], "truncate": False}),
    "cohere": (
        "/v1/embed",
        {
            "model": "m",
            "texts": ["a", "bb"],
            "input_type": "search_document",
            "embedding_types": ["float"],
            "truncate": "NONE",
        },
    ),
}


@each_wire
async def test_texts_are_asked_for_and_vectors_read_as_the_wire_wants_it(http: Http, kind: str) -> None:
    async with Provider(lengths(kind)) as provider:
        made = await embed(kind, http, provider.base_url, "a", "bb")
    request = provider.requests[0]
    assert (request.path, request.json()) == REQUESTS[kind]
    assert request.headers["x-goog-api-key" if kind == "gemini" else "authorization"].endswith(KEY)
    assert KEY not in request.path
    assert (first_numbers(made), made.dimensions, made.usage.input_tokens) == ([1.0, 2.0], 2, 5)
    assert made.model == ("e-1" if kind in ("openai", "ollama") else "m")


@each_wire
async def test_counts_that_are_missing_are_unknown_and_not_zero(http: Http, kind: str) -> None:
    async with Provider(behaviours.status(200, {}, answer(kind, [[1.0]], None))) as provider:
        assert (await embed(kind, http, provider.base_url, "a")).usage.input_tokens is None


@each_wire
async def test_many_texts_go_in_requests_of_the_wires_own_size_four_at_a_time(http: Http, kind: str) -> None:
    size = FORMATS[kind].most_texts
    release = asyncio.Event()
    under_way: list[int] = []

    async def behave(exchange: Exchange) -> None:
        under_way.append(len(texts_of(kind, exchange.request.json())))
        if len(under_way) == 4:
            await behaviours.turns()
            assert len(under_way) == 4  # the fifth waits for its turn
            release.set()
        await release.wait()
        await lengths(kind)(exchange)

    texts = ["a" * (number % 7 + 1) for number in range(size * 4 + 3)]
    async with Provider(behave) as provider:
        made = await embed(kind, http, provider.base_url, *texts)
    assert sorted(under_way) == [3, size, size, size, size]
    assert first_numbers(made) == [float(len(text)) for text in texts]
    assert made.usage.input_tokens == 25


@each_wire
async def test_an_endpoint_may_take_fewer_texts_than_its_wire(http: Http, kind: str) -> None:
    async with Provider(lengths(kind)) as provider:
        made = await embed(kind, http, provider.base_url, "a", "bb", "ccc", embed_batch=2)
    assert len(provider.requests) == 2
    assert first_numbers(made) == [1.0, 2.0, 3.0]


@each_wire
async def test_all_texts_or_none(http: Http, kind: str) -> None:
    waiting: list[Connection] = []
    both = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        if "bb" in texts_of(kind, exchange.request.json()):
            await both.wait()
            await behaviours.status(500)(exchange)
        else:
            waiting.append(exchange.connection)
            if len(waiting) == 2:
                both.set()
            await exchange.gone()

    async with Provider(behave) as provider:
        with pytest.raises(Failure) as failed:
            await embed(kind, http, provider.base_url, "a", "bb", "ccc", embed_batch=1)
        async with asyncio.timeout(5):
            for connection in waiting:
                await connection.closed.wait()
    assert failed.value.reason is Reason.PROVIDER_ERROR


@each_wire
async def test_leaving_closes_all_sockets(http: Http, kind: str) -> None:
    async with Provider(behaviours.silent()) as provider:
        asking = asyncio.create_task(embed(kind, http, provider.base_url, "a", "bb", embed_batch=1))
        while len(provider.requests) < 2:
            provider.asked.clear()
            await provider.asked.wait()
        asking.cancel()
        await asyncio.wait([asking])
        await provider.closed(2)


@each_wire
@pytest.mark.parametrize(
    "rows",
    [
        [[1.0]],
        [[1.0], [1.0], [1.0]],
        [[1.0], [1.0, 2.0]],
        [[], []],
        [[1.0], [None]],
        [[1.0], [1e39]],
        [[1.0], ["x"]],
        [[1.0], 7],
        [],
    ],
    ids=str,
)
async def test_vectors_that_do_not_fit_the_texts_are_refused(http: Http, kind: str, rows: list[Any]) -> None:  # F32
    async with Provider(behaviours.status(200, {}, answer(kind, rows))) as provider:
        with pytest.raises(Failure) as failed:
            await embed(kind, http, provider.base_url, "a", "bb")
    assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR


@each_wire
@pytest.mark.parametrize("body", [b"{}", b"[]", b"", b"[" * 100_000, b'{"x":NaN}', b"\xff"], ids=range(6))
async def test_what_is_no_answer_is_none(http: Http, kind: str, body: bytes) -> None:
    async with Provider(behaviours.status(200, {}, body)) as provider:
        with pytest.raises(Failure) as failed:
            await embed(kind, http, provider.base_url, "a")
    assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR


@each_wire
async def test_numbers_that_are_no_numbers_are_refused(http: Http, kind: str) -> None:
    for bad in (b"NaN", b"Infinity", b"-1e400"):
        body = json.dumps(answer(kind, [[1.5]])).encode().replace(b"1.5", bad)
        async with Provider(behaviours.status(200, {}, body)) as provider:
            with pytest.raises(Failure) as failed:
                await embed(kind, http, provider.base_url, "a")
        assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR


@each_wire
async def test_more_than_its_vectors_could_be_is_not_read(http: Http, kind: str) -> None:  # F31
    bodies = (
        json.dumps(answer(kind, [[0] * 4300])).encode(),
        json.dumps(answer(kind, [[1.0]])).encode()[:-1] + b',"more":[%b0]}' % (b"0," * 10_000),
    )
    for body in bodies:
        async with Provider(behaviours.status(200, {}, body)) as provider:
            with pytest.raises(Failure) as failed:
                await embed(kind, http, provider.base_url, "a")
        assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR
    async with Provider(behaviours.status(200, {}, b'{"x":"%b"}' % (b"x" * 1_000_000))) as provider:
        with pytest.raises(Failure) as failed:
            await embed(kind, http, provider.base_url, "a")
    assert failed.value.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE


REFUSALS: list[tuple[str, int, Any, Reason]] = [
    ("gemini", 429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, Reason.PROVIDER_RATE_LIMITED),
    ("gemini", 404, {"error": {"code": 404, "message": "models/m is not found"}}, Reason.MODEL_NOT_FOUND),
    ("ollama", 404, {"error": 'model "m" not found, try pulling it first'}, Reason.MODEL_NOT_FOUND),
    ("ollama", 400, {"error": "the input length exceeds the context length"}, Reason.CONTEXT_LENGTH_EXCEEDED),
    ("cohere", 401, {"message": f"invalid api token {KEY}"}, Reason.PROVIDER_API_KEY_INVALID),
    ("cohere", 400, {"message": "too many tokens: text 0"}, Reason.CONTEXT_LENGTH_EXCEEDED),
    ("cohere", 429, {"message": "limited to 100 API calls / minute"}, Reason.PROVIDER_RATE_LIMITED),
]


@pytest.mark.parametrize(("kind", "status", "body", "reason"), REFUSALS)
async def test_refusals_say_what_they_mean(http: Http, kind: str, status: int, body: Any, reason: Reason) -> None:
    async with Provider(behaviours.status(status, {}, body)) as provider:
        with pytest.raises(Failure) as failed:
            await embed(kind, http, provider.base_url, "a", "bb")
    assert failed.value.reason is reason
    assert KEY not in f"{failed.value} {failed.value.metadata}"
    if reason is Reason.CONTEXT_LENGTH_EXCEEDED:
        assert [violation.field for violation in failed.value.violations] == ["texts"]


async def test_which_text_is_meant_is_told_by_its_place_among_all(http: Http) -> None:
    async def behave(exchange: Exchange) -> None:
        if "bad" in texts_of("openai", exchange.request.json()):
            error = {"code": "context_length_exceeded", "message": "too long", "param": "input[1]"}
            await behaviours.status(400, {}, {"error": error})(exchange)
        else:
            await lengths("openai")(exchange)

    async with Provider(behave) as provider:
        with pytest.raises(Failure) as failed:
            await embed("openai", http, provider.base_url, "a", "b", "c", "bad", embed_batch=2)
    assert [violation.field for violation in failed.value.violations] == ["texts[3]"]


async def test_the_cohere_wire_makes_no_replies(http: Http) -> None:
    outcome = await ask(make("cohere", http, "http://127.0.0.1:1"))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.MODEL_FEATURE_UNSUPPORTED
