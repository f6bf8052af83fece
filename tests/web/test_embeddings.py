from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from stepwired.events import Embeddings, EmbedRequest, ModelInfo
from stepwired.limits import Limits
from stepwired.web import embeddings
from tests.rpc.serving import SOON_S, Catalogue, count, until
from tests.web import fronting
from tests.web.fronting import Front, serve

PATH = "/v1/embeddings"
ROW = struct.pack("<3000f", *range(3000))


LARGE = struct.pack("<8000f", *(index / 7 for index in range(8000)))


async def large(request: EmbedRequest) -> Embeddings:
    """Much more than the sockets between hold: 16 MB as numbers."""
    return Embeddings("m", 8000, (LARGE,) * len(request.texts))


async def many(request: EmbedRequest) -> Embeddings:
    return Embeddings("m", 3000, (ROW,) * len(request.texts))


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
        ({"input": ["x"] * 2049}, "input", "field_invalid"),
        ({"input": ["x" * Limits().embed_text_bytes] * 257}, "input", "field_invalid"),
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


async def test_as_many_texts_as_openai_takes_become_vectors() -> None:
    async with serve() as front:
        reply = await front.ask("POST", PATH, {"input": ["x"] * 2048})
    assert reply.status == 200
    assert [item["index"] for item in reply.json["data"]] == list(range(2048))


class Asked:
    """Makes vectors of two numbers, and remembers what for."""

    def __init__(self) -> None:
        self.requests: list[EmbedRequest] = []

    async def __call__(self, request: EmbedRequest) -> Embeddings:
        self.requests.append(request)
        return await count(request)


NUMBERS = Limits(http_embed_floats=3)


@pytest.mark.parametrize("known", [2, None])
@pytest.mark.parametrize(
    ("fields", "limits", "status", "code"),
    [
        ({"input": ["a", "b"]}, NUMBERS, 413, "response_too_large"),
        ({"input": "a", "dimensions": 3}, Limits(), 400, "model_feature_unsupported"),
    ],
)
async def test_what_cannot_be_sent_is_not_computed_where_that_is_known(
    fields: dict[str, Any], limits: Limits, status: int, code: str, known: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelInfo("count", (), "scripted", "count-1", is_default=True, dimensions=known)
    monkeypatch.setattr(fronting, "Catalogue", lambda: Catalogue(embeds=[model]))
    asked = Asked()
    async with serve(embed=asked, limits=limits) as front:
        reply = await front.ask("POST", PATH, fields)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert len(asked.requests) == (0 if known else 1)


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_many_numbers_are_written_while_others_have_their_turns(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = embeddings.embeddings_json
    turns = 0
    pieces_at: list[int] = []

    def writing(made: Embeddings, *, is_base64: bool) -> Iterator[bytes]:
        for piece in write(made, is_base64=is_base64):
            pieces_at.append(turns)
            yield piece

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(embeddings, "embeddings_json", writing)
    async with serve(embed=many) as front:
        counting = asyncio.create_task(count_turns())
        reply = await front.ask("POST", PATH, {"input": ["a"] * 10, "encoding_format": form})
        counting.cancel()
        await asyncio.wait([counting])
    assert pieces_at == sorted(set(pieces_at))
    assert len(reply.chunks) == len(pieces_at) == 5
    row = base64.b64encode(ROW).decode() if form == "base64" else list(range(3000))
    said = reply.json
    assert [item.pop("embedding") for item in said["data"]] == [row] * 10
    assert said == {
        "object": "list",
        "data": [{"object": "embedding", "index": index} for index in range(10)],
        "model": "m",
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


async def test_the_size_is_told_of_few_numbers_and_to_the_oldest_clients() -> None:
    async with asyncio.timeout(SOON_S), serve(embed=many) as front:
        assert "content-length" in (await front.ask("POST", PATH, {"input": ["a"] * 3})).headers
        body = json.dumps({"input": ["a"] * 10}).encode()
        head = f"POST {PATH} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        async with front.connection() as connection:
            await connection.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            reply = await connection.reply()
            assert await connection.ended() == b""
    assert "content-length" in reply.headers
    assert len(reply.json["data"]) == 10


async def paused(front: Front) -> Any:
    """The front's side of the one connection, once more was written than its caller takes."""
    held: list[Any] = []

    def is_paused() -> bool:
        held[:] = front.server._state.connections
        return bool(held) and held[0].flow.write_paused

    await until(is_paused)
    return held[0]


async def test_an_answer_that_is_ended_half_way_is_cut_and_nothing_is_put_into_it() -> None:
    async with asyncio.timeout(SOON_S), serve(embed=large) as front, front.connection() as connection:
        connection.pause()
        await connection.ask("POST", PATH, {"input": ["a"] * 100})
        own = await paused(front)
        assert front.places._live
        await front.places.drain(0)
        transport: Any = connection.writer.transport
        transport.resume_reading()
        assert own.cycle.disconnected
        assert b"data: " not in await connection.ended()
        assert not front.places._live


async def test_who_hangs_up_amid_an_answer_leaves_nothing() -> None:
    async with asyncio.timeout(SOON_S), serve(embed=large) as front:
        async with front.connection() as connection:
            connection.pause()
            await connection.ask("POST", PATH, {"input": ["a"] * 100})
            await paused(front)
            connection.reset()
        await until(lambda: not front.places._live)
