"""What becomes of vectors that the OpenAI wire sends, good and bad ones, on real sockets."""

from __future__ import annotations

import base64
import json
import struct
import threading
import tracemalloc
from typing import Any

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import EmbedRequest
from stepwired.providers.embedding import ask
from stepwired.providers.embedding.ask import read_embeddings
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.openai.embed import OpenAIEmbed
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.providers.conftest import KEY, Wire

RATE_LIMIT = {"error": {"message": "slow", "code": "rate_limit_exceeded"}}


def vectors(*rows: Any, **fields: Any) -> Behaviour:
    data = [{"index": index, "embedding": row} for index, row in enumerate(rows)]
    return behaviours.status(200, {}, {"data": data, "model": "e", **fields})


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize("as_base64", [True, False])
async def test_vectors_come_in_the_order_of_the_texts(wire: Wire, as_base64: bool) -> None:
    async with Provider(behaviours.embeddings(4, as_base64=as_base64, shuffled=True)) as provider:
        made = await wire(provider.base_url).embed(EmbedRequest(("a", "bb", "ccc"), "e"))
    assert (made.model, made.dimensions, made.usage.input_tokens) == ("e", 4, 5)
    assert [struct.unpack("<4f", row) for row in made.rows] == [(1, 0, 0, 0), (2, 0, 0, 0), (3, 0, 0, 0)]


@pytest.mark.parametrize("width", [3, 40_000])
async def test_vectors_of_any_size_are_checked(wire: Wire, width: int) -> None:
    large = [1e38] * width
    async with Provider(vectors(large, packed(*large))) as provider:
        made = await wire(provider.base_url).embed(EmbedRequest(("a", "b"), "e"), width)
        assert made.rows[0] == made.rows[1]
        provider.behaviour = vectors(packed(*large[1:], float("-inf")), packed(*large))
        with pytest.raises(Failure) as failed:
            await wire(provider.base_url).embed(EmbedRequest(("a", "b"), "e"), width)
        assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR


@pytest.mark.parametrize(
    "behaviour",
    [
        vectors(packed(1.0)),
        vectors(packed(1.0), packed(1.0), packed(1.0)),
        vectors(packed(1.0), packed(1.0, 2.0)),
        vectors("", ""),
        vectors([], []),
        vectors("AAA=", "AAA="),
        vectors("AA", "AA"),
        vectors(packed(1.0), packed(float("nan"))),
        vectors(packed(1.0), packed(float("inf"))),
        vectors([1.0], [1e39]),
        vectors([1.0], [None]),
        behaviours.status(200, {}, b'{"data":[{"index":0,"embedding":[1.0]},{"index":1,"embedding":[NaN]}]}'),
        behaviours.status(200, {}, b'{"data":[{"index":0,"embedding":[1.0]},{"index":0,"embedding":[1.0]}]}'),
        behaviours.status(200, {}, b'{"data":[{"index":-1,"embedding":[1.0]},{"index":2,"embedding":[1.0]}]}'),
        behaviours.status(200, {}, b'{"data":[{"index":0,"embedding":[1.0]}'),
        behaviours.status(200, {}, b"[" * 100_000),
        behaviours.status(200, {}, b"{}"),
        behaviours.status(200, {"content-type": "text/html"}, b"{}"),
    ],
)
async def test_vectors_that_do_not_fit_the_texts_are_refused(wire: Wire, behaviour: Behaviour) -> None:  # F32
    async with Provider(behaviour) as provider:
        with pytest.raises(Failure) as failed:
            await wire(provider.base_url).embed(EmbedRequest(("a", "b"), "e"))
    assert failed.value.reason is Reason.PROVIDER_PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"data":[],"usage":[%b0]}' % (b"{}," * 1000), Reason.PROVIDER_PROTOCOL_ERROR),
        (b'{"data":[{"embedding":[1]},{"embedding":[%b0]}]}' % (b"0," * 4300), Reason.PROVIDER_PROTOCOL_ERROR),
        (b'{"data":[%b0]}' % (b"{}," * 40_000), Reason.PROVIDER_PROTOCOL_ERROR),
        (b'{"data":[%b0]}' % (b'{"embedding":[1]},' * 5000), Reason.PROVIDER_PROTOCOL_ERROR),
        (b'{"data":[],"error":{"type":"overloaded_error","more":"%b"}}' % (b"x" * 100_000), Reason.PROVIDER_ERROR),
        (b'{"data":[],"x":"%b"}' % (b"x" * 1_000_000), Reason.PROVIDER_RESPONSE_TOO_LARGE),
    ],
    ids=["usage", "one long vector", "items", "vectors", "error", "anything"],
)
async def test_an_answer_larger_than_its_vectors_could_be_is_not_read(
    wire: Wire, body: bytes, reason: Reason
) -> None:  # F31
    async with Provider(behaviours.status(200, {}, body)) as provider:
        with pytest.raises(Failure) as failed:
            await wire(provider.base_url).embed(EmbedRequest(("a", "b"), "e"))
    assert failed.value.reason is reason


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[],"usage":[%b0]}' % (b"{}," * 3_000_000),
        b'{"data":[],"error":[%b0]}' % (b"{}," * 300_000),
        b'{"data":[{"embedding":[%b0]}]}' % (b"0," * 5_000_000),
        b'{"data":[%b0]}' % (b"[]," * 3_000_000),
    ],
    ids=["usage", "error", "one long vector", "items"],
)
def test_an_answer_of_ten_megabytes_takes_no_more_than_was_to_be_expected_of_256_texts(body: bytes) -> None:  # F31
    tracemalloc.start()
    try:
        with pytest.raises(Failure):
            read_embeddings(OpenAIEmbed(), Asked("acme", "e", texts=256), body)
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_counts_of_unlikely_size_are_left_unread_and_the_vectors_hold(wire: Wire) -> None:
    usage = b'{"prompt_tokens":5,"more":[%b0]}' % (b"0," * 5000)
    async with Provider(behaviours.status(200, {}, b'{"data":[{"embedding":[1]}],"usage":%b}' % usage)) as provider:
        made = await wire(provider.base_url).embed(EmbedRequest(("a",), "e"), 6000)
    assert made.rows == (struct.pack("<f", 1.0),)
    assert made.usage.input_tokens is None


@pytest.mark.parametrize("as_base64", [True, False])
async def test_many_vectors_do_not_hold_up_the_loop_as_a_whole(wire: Wire, as_base64: bool) -> None:
    threads: set[int] = set()
    read = ask.read_embeddings

    def noting(*arguments: Any) -> Any:
        threads.add(threading.get_ident())
        return read(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask, "read_embeddings", noting)
        async with Provider(behaviours.embeddings(1536, as_base64=as_base64)) as provider:
            texts = tuple("a" * (number + 1) for number in range(64))
            made = await wire(provider.base_url).embed(EmbedRequest(texts, "e"), 1536)
    assert [struct.unpack_from("<f", row)[0] for row in made.rows] == [*range(1, 65)]
    assert threading.get_ident() not in threads


async def test_a_text_that_is_too_long_is_named_as_one_of_the_texts(wire: Wire) -> None:
    error = {"code": "context_length_exceeded", "message": "too long", "param": "input[1]"}
    async with Provider(behaviours.status(400, {}, {"error": error})) as provider:
        with pytest.raises(Failure) as failed:
            await wire(provider.base_url).embed(EmbedRequest(("a", "b"), "e"))
    assert failed.value.reason is Reason.CONTEXT_LENGTH_EXCEEDED
    assert [violation.field for violation in failed.value.violations] == ["texts[1]"]
    assert "messages" not in str(failed.value)


async def test_refused_texts_are_told_like_refused_chats(wire: Wire) -> None:
    async with Provider(behaviours.status(429, {"retry-after": "2"}, RATE_LIMIT)) as provider:
        with pytest.raises(Failure) as failed:
            await wire(provider.base_url).embed(EmbedRequest(("a",), "e"))
        assert failed.value.reason is Reason.PROVIDER_RATE_LIMITED
        provider.behaviour = vectors(error={"type": "overloaded_error"})
        with pytest.raises(Failure) as failed:
            await wire(provider.base_url).embed(EmbedRequest(("a",), "e"))
        assert failed.value.reason is Reason.PROVIDER_OVERLOADED


async def test_vectors_without_an_index_are_taken_as_they_come(wire: Wire) -> None:
    body = json.dumps({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}).encode()
    async with Provider(behaviours.status(200, {}, body)) as provider:
        made = await wire(provider.base_url).embed(EmbedRequest(("a", "b"), "e"))
    assert [struct.unpack("<f", row) for row in made.rows] == [(1.0,), (2.0,)]


async def test_the_request_asks_for_base64_and_carries_the_key(wire: Wire) -> None:
    async with Provider(behaviours.embeddings(4)) as provider:
        await wire(provider.base_url).embed(EmbedRequest(("a", "b"), "m"))
    request = provider.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/embeddings")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json() == {"model": "m", "input": ["a", "b"], "encoding_format": "base64"}
