"""What is no request: JSON and protobuf that are none, too much of them, and HTTP that is no call."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format
from grpc import StatusCode as K
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwire.v1 import chat_pb2, conversation_pb2
from stepwired.errors import InvalidRequest
from stepwired.limits import KIB, MIB, Limits
from stepwired.rpc.connect.body import Format, _has_too_many_values
from tests.rpc.connecting import PROTOCOLS, Http, Refused, connection, framed, listening
from tests.rpc.serving import Told, serve

C = chat_pb2
LIMITS = Limits()
JSON = Format(is_json=True, limits=LIMITS)


async def ask(http: Http, method: str, raw: bytes, *, is_packed: bool = False) -> None:
    """One call, whose only message is this."""
    is_plain = method == "Chat" and http.family == "connect"
    name = "content_encoding" if is_plain else {"connect": "connect_content_encoding"}.get(http.family, "grpc_encoding")
    headers: dict[str, Any] = {name: "gzip"} if is_packed else {}
    body = raw if is_plain else framed(raw, int(is_packed))
    http.post(f"ChatService/{method}", body, is_unary=method == "Chat", **headers)
    await (http.single(C.ChatResponse) if method == "Chat" else http.all(C.StreamChatResponse))


async def refused(http: Http, method: str, raw: bytes, *, is_packed: bool = False) -> Told:
    with pytest.raises(Refused) as caught:
        await ask(http, method, raw, is_packed=is_packed)
    return caught.value.told


BAD_JSON = [
    (b"", "the request is no JSON object", ""),
    (b"[]", "the request is no JSON object", ""),
    (b"null", "the request is no JSON object", ""),
    (b'"hello"', "the request is no JSON object", ""),
    (b"{", "the request is no JSON, at line 1 column 2", ""),
    (b'{"prompt":"secret', "the request is no JSON, at line 1 column 11", ""),
    (b'{"prompt":"a"} secret', "the request is no JSON, at line 1 column 16", ""),
    (b'{"prompt":"a","prompt":"secret"}', "the request is JSON with a key that is there twice", ""),
    (b'{"prompt":"\xff secret"}', "the request is JSON that is not UTF-8", ""),
    (b'{"promt":"secret"}', "promt: stepwire.v1.ChatRequest has no such field", "promt"),
    (
        b'{"messages":[{},{"txt":"secret"}]}',
        "messages[1].txt: stepwire.v1.Message has no such field",
        "messages[1].txt",
    ),
    (b'{"prompt":["secret"]}', "prompt: the value is not of the field's type", "prompt"),
    (b'{"prompt":"\\ud800 secret"}', "prompt: the value is not of the field's type", "prompt"),
    (b'{"options":{"temperature":"secret"}}', "options.temperature: the value is not of the field's type", None),
    (b'{"options":{"seed":1.5}}', "options.seed: the value is not of the field's type", None),
    (b'{"messages":["secret"]}', None, None),
    (b'{"messages":[null]}', None, None),
    (b'{"options":{"responseFormat":{"type":"secret"}}}', None, None),
    (b'{"messages":[{"metadata":' + b'{"a":' * 200 + b"1" + b"}" * 202, None, ""),
    (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, None, None),
    (b"{" + b" " * 1000 + b'"prompt":' + b"[" * 100_000, None, None),
]


@pytest.mark.parametrize(("raw", "message", "path"), BAD_JSON, ids=range(len(BAD_JSON)))
async def test_json_that_is_no_request_is_refused_without_repeating_it(
    raw: bytes, message: str | None, path: str | None
) -> None:
    made = await JSON.read(raw, C.ChatRequest, C.ChatRequest.FromString)
    assert isinstance(made, InvalidRequest)
    assert message in {str(made), None}
    assert path in {made.metadata.get("path", ""), None}
    assert "secret" not in str(made).removesuffix("secret: stepwire")


@pytest.mark.parametrize("method", ["Chat", "StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_body_that_is_no_message_is_told_of_as_such(protocol: str, method: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        for _ in range(2):  # the connection goes on
            said = await refused(http, method, b"\x0a\x7fshort" if http.form == "proto" else b'{"chat":1,"promt":2}')
            assert (said.code, said.reason) == (K.INVALID_ARGUMENT, "MALFORMED_REQUEST")
            assert said.request_id == said.trailers["x-request-id"]


@pytest.mark.parametrize("method", ["Chat", "StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_gzip_that_is_none_is_told_of_as_such(protocol: str, method: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        for packed in (b"no gzip", gzip.compress(b"x" * 1000)[:-9]):
            said = await refused(http, method, packed, is_packed=True)
            assert (said.code, said.reason) == (K.INVALID_ARGUMENT, "MALFORMED_REQUEST")


@pytest.mark.parametrize("body", [b"\x00\x00\x00\x00\x09cut", b"\x09\x00\x00\x00\x00", b"\x00\x00"])
@pytest.mark.parametrize("method", ["StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_frame_that_is_none_is_told_of_as_such(protocol: str, method: str, body: bytes) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        http.post(f"ChatService/{method}", body)
        with pytest.raises(Refused) as caught:
            await http.all(C.StreamChatResponse)
    assert (caught.value.told.code, caught.value.told.reason) == (K.INVALID_ARGUMENT, "MALFORMED_REQUEST")


@pytest.mark.parametrize("method", ["Chat", "StreamChat", "Converse"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_more_than_is_read_is_refused_packed_or_not(protocol: str, method: str) -> None:
    limits = Limits(request_bytes=1 * MIB)
    async with serve(limits=limits) as client, listening(client.server) as port, connection(port, protocol) as http:
        for body, is_packed in ((gzip.compress(b" " * (1 * MIB + 1)), True), (bytes(1 * MIB + 1), False)):
            said = await refused(http, method, body, is_packed=is_packed)
            assert said.code is K.RESOURCE_EXHAUSTED
            assert said.trailers["x-request-id"]


async def test_a_large_request_is_read_beside_others() -> None:
    request = conversation_pb2.CreateConversationRequest()
    for _ in range(8):
        request.messages.add(role="user", text='é\\"' * (64 * KIB))
    raw = json_format.MessageToJson(request).encode()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    made = await JSON.read(raw, conversation_pb2.CreateConversationRequest, bytes)
    counting.cancel()
    assert made == request
    assert turns > 0


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 300_000,
        b'{"a":[' + b"1," * 300_000 + b"1]}",
        b'{"messages":[' + b"{}," * 300_000 + b"{}]}",
        b'{"prompt":"' + b"a" * 1000 + b'","x":[' + b'"",' * 300_000 + b'""]}',
    ],
    ids=["nested", "numbers", "objects", "strings"],
)
async def test_many_values_are_counted_before_they_are_read(raw: bytes) -> None:
    assert _has_too_many_values(raw, LIMITS.request_json_values)
    assert isinstance(await JSON.read(raw, C.ChatRequest, bytes), InvalidRequest)


async def test_what_is_in_texts_is_not_counted() -> None:
    text = '[{,"\\' * 300_000
    raw = json.dumps({"prompt": text}).encode()
    assert not _has_too_many_values(raw, 10)
    made = await JSON.read(raw, C.ChatRequest, bytes)
    assert isinstance(made, C.ChatRequest)
    assert made.prompt == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "raw", [b'"' + b'\\"' * (8 * MIB), b'"\\' * (8 * MIB), b'"' * (16 * MIB), b'"a\\\n' * (4 * MIB)]
)
def test_counting_takes_no_longer_for_texts_without_end(raw: bytes) -> None:
    assert not _has_too_many_values(raw, 250_000)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_counting_is_never_below_what_there_is(value: Any) -> None:
    def count(each: Any) -> int:
        inside = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        return (isinstance(each, list | dict)) + max(len(inside) - 1, 0) + sum(map(count, inside))

    raw = json.dumps(value).encode()
    expected = count(value)
    assert not _has_too_many_values(raw, expected)
    assert expected == 0 or len(raw) <= expected - 1 or _has_too_many_values(raw, expected - 1)


@pytest.mark.parametrize(
    ("line", "headers", "status", "code"),
    [
        ("POST /stepwire.v1.ChatService/None", {"content-type": "application/json"}, 404, "unimplemented"),
        ("POST /grpc.health.v1.Health/Check", {"content-type": "application/json"}, 404, "unimplemented"),
        ("POST /stepwire.v1.ChatService/None", {"content-type": "application/grpc-web"}, 200, ""),
        ("GET /stepwire.v1.ChatService/Chat?encoding=json&message={}", {}, 405, "unimplemented"),
        ("POST /stepwire.v1.ChatService/Chat", {"content-type": "text/plain"}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/Chat", {}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/Chat", {"content-type": "application/grpc"}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/Chat", {"content-type": "application/connect+json"}, 415, "invalid_argument"),
        ("POST /stepwire.v1.ChatService/StreamChat", {"content-type": "application/json"}, 415, "invalid_argument"),
        (
            "POST /stepwire.v1.ChatService/Chat",
            {"content-type": "application/json", "connect-timeout-ms": "soon"},
            400,
            "invalid_argument",
        ),
        (
            "POST /stepwire.v1.ChatService/Chat",
            {"content-type": "application/json", "connect-protocol-version": "2"},
            400,
            "invalid_argument",
        ),
        (
            "POST /stepwire.v1.ChatService/Chat",
            {"content-type": "application/json", "content-encoding": "br"},
            501,
            "unimplemented",
        ),
    ],
)
async def test_http_that_is_no_call_is_refused(line: str, headers: dict[str, str], status: int, code: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port) as http:
        for _ in range(2):
            said = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
            http.writer.write(f"{line} HTTP/1.1\r\nhost: a\r\n{said}content-length: 2\r\n\r\n{{}}".encode())
            reply = await http.reply()
            assert reply.status == status
            body = await reply.body()
            assert not code or json.loads(body)["code"] == code
            assert status != 200 or reply.headers["grpc-status"] == "12"


async def test_headers_that_are_no_text_do_no_harm() -> None:
    async with serve() as client, listening(client.server) as port, connection(port) as http:
        head = (
            b"POST /stepwire.v1.ChatService/Chat HTTP/1.1\r\nhost: a\r\ncontent-type: Application/JSON; charset=a\r\n"
        )
        http.writer.write(
            head + b"x-request-id: \xff\xfe\r\na-bin: !!\r\ncontent-length: 14\r\n\r\n" + b'{"prompt":"a"}'
        )
        reply = await http.reply()
        assert reply.status == 200
        assert json.loads(await reply.body())["text"] == "a"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_bytes_at_random_are_always_answered_with_a_status(protocol: str) -> None:
    random_ = random.Random(7)
    valid = [b'{"prompt":"hello","options":{"seed":1}}', C.ChatRequest(prompt="hello").SerializeToString()]
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        for _ in range(300):
            raw = bytearray(random_.choice(valid))
            for _ in range(random_.randint(1, 4)):
                raw[random_.randrange(len(raw))] = random_.randrange(256)
            body = bytes(raw) if http.family == "connect" else framed(bytes(raw))
            with suppress(Refused):
                await http.unary("ChatService/Chat", body, C.ChatResponse)
    calls = client.metrics.calls
    assert len(calls) == 300
    assert {code for _, code, _ in calls} <= {"OK", "INVALID_ARGUMENT"}
