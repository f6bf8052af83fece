from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from stepwired.events import Embeddings, EmbedRequest
from stepwired.limits import Limits
from tests.web.fronting import serve

PATH = "/v1/embeddings"


async def test_texts_become_lists_of_numbers() -> None:
    async with serve() as front:
        several = await front.ask("POST", PATH, {"input": ["cat", "mouse"], "model": "count"})
        one = await front.ask("POST", PATH, {"input": "cat", "encoding_format": "float", "dimensions": 2})
    assert several.json == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [3.0, 1.0]},
            {"object": "embedding", "index": 1, "embedding": [5.0, 1.0]},
        ],
        "model": "count-1",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
    assert one.json["data"] == several.json["data"][:1]


async def test_base64_is_little_endian_floats_and_numbers_are_the_same() -> None:
    floats = struct.pack("<4f", 0.1, -1e-30, 3.4e38, 5.0)

    async def embed(_: EmbedRequest) -> Embeddings:
        return Embeddings("m", 4, (floats,))

    async with serve(embed=embed) as front:
        packed = await front.ask("POST", PATH, {"input": "x", "encoding_format": "base64"})
        plain = await front.ask("POST", PATH, {"input": "x"})
    assert base64.b64decode(packed.json["data"][0]["embedding"]) == floats
    assert struct.pack("<4f", *plain.json["data"][0]["embedding"]) == floats


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "input", "field_required"),
        ({"input": []}, "input", "field_required"),
        ({"input": ""}, "input", "invalid_input_text"),
        ({"input": ["a", " "]}, "input[1]", "invalid_input_text"),
        ({"input": [[1, 2]]}, "input[0]", "invalid_input_text"),
        ({"input": 3}, "input", "field_invalid"),
        ({"input": "x" * (Limits().embed_text_bytes + 1)}, "input", "invalid_input_text"),
        ({"input": ["x"] * (Limits().embed_texts + 1)}, "input", "field_invalid"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format", "field_invalid"),
        ({"input": "x", "dimensions": 0}, "dimensions", "field_invalid"),
        ({"input": "x", "dimensions": 1}, "dimensions", "model_feature_unsupported"),
        ({"input": "x", "model": 1}, "model", "field_invalid"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(fields: dict[str, Any], param: str, code: str) -> None:
    async with serve() as front:
        reply = await front.ask("POST", PATH, fields)
    assert reply.status == 400
    assert (reply.error["param"], reply.error["code"]) == (param, code)


async def test_more_numbers_than_may_be_are_refused() -> None:
    async with serve(limits=Limits(embed_floats=3)) as front:
        reply = await front.ask("POST", PATH, {"input": ["a", "b"]})
    assert (reply.status, reply.error["code"]) == (413, "response_too_large")
