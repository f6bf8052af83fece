from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from stepwired.local import models
from stepwired.local.embed import Embedder, TextTooLong, batches
from stepwired.local.process import Address
from stepwired.local.supervisor import Supervisor
from tests.local.conftest import post

TEXTS = [
    "cat",
    "a kitten sleeps",
    "the market fell",
    "The quick brown fox jumps over the lazy dog.",
    "Ein Satz in einer anderen Sprache, mit Umlauten: äöü.",
    "word " * 200,
]


@pytest.fixture(scope="session")
def embedder(data_dir: Path) -> Embedder:
    model = models.find(data_dir, "minilm")
    assert model is not None
    return Embedder(model.folder)


@pytest.fixture
async def address(supervisor: Supervisor) -> Address:
    return await supervisor.model("minilm").address()


def vector(embedder: Embedder, text: str) -> Any:
    return embedder.embed(embedder.tokenize([text]).ids)[0]


# The vectors


def test_vectors_agree_with_the_slow_obvious_way(embedder: Embedder, data_dir: Path) -> None:
    folder = data_dir / "models" / "minilm"
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        feed = {
            "input_ids": np.array([ids]),
            "attention_mask": np.array([[1] * len(ids)]),
            "token_type_ids": np.array([[0] * len(ids)]),
        }
        states = session.run(None, feed)[0][0].tolist()
        mean = [sum(state[d] for state in states) / len(states) for d in range(384)]
        length = sum(number * number for number in mean) ** 0.5
        np.testing.assert_allclose(vector(embedder, text), [number / length for number in mean], atol=1e-6)


def test_a_vector_does_not_depend_on_the_texts_beside_it(embedder: Embedder) -> None:
    tokens = embedder.tokenize(TEXTS)
    together = embedder.embed(tokens.ids)
    assert together.dtype == np.float32
    for number, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[number], vector(embedder, text), atol=1e-6)


def test_vectors_have_unit_length_and_the_dimensions_that_are_told(embedder: Embedder) -> None:
    vectors = embedder.embed(embedder.tokenize(TEXTS).ids)
    assert embedder.dimensions == 384
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_meaning_ranks_a_sleeping_kitten_above_a_falling_market_for_cat(embedder: Embedder) -> None:
    cat = vector(embedder, "cat")
    assert cat @ vector(embedder, "a kitten sleeps") > cat @ vector(embedder, "the market fell") + 0.1


def test_a_text_of_256_tokens_passes_and_one_more_is_refused(embedder: Embedder) -> None:
    assert embedder.tokenize(["word " * 254]).count == 256  # with the opening and the closing token
    with pytest.raises(TextTooLong) as caught:
        embedder.tokenize(["fine", "word " * 255])
    assert (caught.value.index, caught.value.token_count) == (1, 257)


def test_batches_hold_each_row_once_and_few_tokens_together() -> None:
    rows = [[0] * (1 + (n * 7) % 256) for n in range(1000)]
    found = list(batches(rows))
    assert sorted(n for batch in found for n in batch) == list(range(1000))
    lengths = [len(rows[n]) for batch in found for n in batch]
    assert lengths == sorted(lengths)
    assert max(map(len, found)) == 16
    assert max(len(batch) * max(len(rows[n]) for n in batch) for batch in found) <= 1024
    assert list(batches([])) == []


# The wire


async def test_both_encodings_give_the_same_vectors_in_the_order_of_the_texts(
    http: aiohttp.ClientSession, address: Address, embedder: Embedder
) -> None:
    texts = [f"{text} {n}" for n in range(8) for text in TEXTS]  # several batches, mixed lengths
    _, floats = await post(http, address, "/embeddings", {"input": texts, "model": "anything"})
    _, packed = await post(http, address, "/embeddings", {"input": texts, "encoding_format": "base64"})
    for number, text in enumerate(texts):
        wanted = vector(embedder, text)
        assert floats["data"][number]["index"] == packed["data"][number]["index"] == number
        np.testing.assert_allclose(floats["data"][number]["embedding"], wanted, atol=1e-6)
        unpacked = np.frombuffer(base64.b64decode(packed["data"][number]["embedding"]), "<f4")
        np.testing.assert_allclose(unpacked, wanted, atol=1e-6)
    assert packed["model"] == "minilm"
    assert packed["usage"]["prompt_tokens"] == embedder.tokenize(texts).count


async def test_2048_texts_are_answered_and_one_more_is_refused(http: aiohttp.ClientSession, address: Address) -> None:
    status, body = await post(http, address, "/embeddings", {"input": ["a"] * 2048, "encoding_format": "base64"})
    assert (status, len(body["data"])) == (200, 2048)
    status, body = await post(http, address, "/embeddings", {"input": ["a"] * 2049})
    assert (status, body["error"]["param"]) == (400, "input")


async def test_a_text_that_is_too_long_is_refused_with_both_numbers(
    http: aiohttp.ClientSession, address: Address
) -> None:
    status, body = await post(http, address, "/embeddings", {"input": ["fine", "word " * 300]})
    assert status == 400
    assert body["error"] == {
        "message": "text 1 has 302 tokens; this model reads at most 256",
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
        "param": "input[1]",
        "n_prompt_tokens": 302,
        "n_ctx": 256,
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "missing required field `input`"),
        ({"input": []}, "input has 0 texts"),
        ({"input": "  "}, "text 0 is empty"),
        ({"input": ["a", ""]}, "text 1 is empty"),
        ({"input": [[1, 2]]}, "Expected `str`"),
        ({"input": "a", "dimensions": 256}, "this model has 384"),
        ({"input": "a", "encoding_format": "hex"}, "Invalid enum value"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_with_what_is_wrong(
    http: aiohttp.ClientSession, address: Address, body: dict[str, Any], said: str
) -> None:
    status, answer = await post(http, address, "/embeddings", body)
    assert status == 400
    assert said in answer["error"]["message"]


async def test_only_health_is_answered_without_the_key(http: aiohttp.ClientSession, address: Address) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": address.api_key}):
        status, body = await post(http, address, "/embeddings", {"input": "a"}, headers)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    async with http.get(address.base_url.removesuffix("/v1") + "/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_a_caller_who_hangs_up_leaves_the_model_to_the_next(
    http: aiohttp.ClientSession, address: Address
) -> None:
    long = {"input": [f"{n} " + "word " * 200 for n in range(2048)], "encoding_format": "base64"}
    abandoned = asyncio.create_task(post(http, address, "/embeddings", long))
    # A second request gets its turn between two batches of the first, so the first has begun when it is answered.
    await post(http, address, "/embeddings", {"input": "a"})
    abandoned.cancel()
    await asyncio.wait([abandoned])
    async with asyncio.timeout(20):  # hang protection; the whole of `long` takes longer
        status, _ = await post(http, address, "/embeddings", {"input": ["b"] * 256})
    assert status == 200
