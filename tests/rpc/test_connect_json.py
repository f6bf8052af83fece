"""Requests and replies as JSON: what is none, how much of it there may be, and what it keeps from running."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2
from stepwired import jsonvalue
from stepwired.errors import InvalidRequest
from stepwired.jsonvalue import has_more_values
from stepwired.limits import KIB, MIB, Limits
from stepwired.rpc.connect import body, written
from stepwired.rpc.connect.body import Format

C, V = chat_pb2, conversation_pb2
LIMITS = Limits()
JSON = Format(is_json=True, limits=LIMITS)
LARGE = 'é\\"🙂' * (64 * KIB)

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
    (b'{"prompt":"' + b"a" * 200_000 + b'\\ud800 secret"}', "prompt: the value is not of the field's type", "prompt"),
    (
        b'{"prompt":"' + b"a" * 200_000 + b'","promt":"secret"}',
        "promt: stepwire.v1.ChatRequest has no such field",
        "promt",
    ),
    (b'{"a":"' + b"a" * 200_000 + b'","a":"secret"}', "the request is JSON with a key that is there twice", ""),
    (b'{"prompt":"' + b"a" * 200_000 + b'"} secret', "the request is no JSON, at line 1 column 200015", ""),
    (b'{"secret' + b"a" * 200_000 + b'":1}', None, None),
    (b'{"messages":[{"metadata":{"a":' + b"1" * 400 + b"}}]}", "the request: the value is not of the field's type", ""),
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
    assert re.search(r"secret(?!a)", str(made)) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", [" at " + "a" * MIB + " ", " at " + "." * MIB + " ", 'Message type "' + "a" * MIB])
async def test_what_the_library_quotes_of_a_request_takes_no_long_search(what: str) -> None:
    for key in ("temperature", what):
        raw = json.dumps({"options": {key: what}}).encode()
        assert isinstance(await JSON.read(raw, C.ChatRequest, bytes), InvalidRequest)


@pytest.mark.parametrize(
    "request_",
    [
        C.ChatRequest(prompt=LARGE, messages=[{"text": LARGE}, {"text": "a"}, {"text": LARGE}]),
        embed_pb2.EmbedRequest(texts=[LARGE, "a", LARGE]),
        V.ListConversationsRequest(labels={"a": LARGE, "b": "b"}),
        V.CreateConversationRequest(
            messages=[{"tool_use": {"name": LARGE}, "metadata": {"a": [LARGE, {"text": LARGE}]}}]
        ),
        V.CreateConversationRequest(messages=[{"metadata": {"fields": {"a": {"stringValue": LARGE}}}}]),
        V.CreateConversationRequest(messages=[{"images": [{"data": LARGE.encode()}]}]),
    ],
    ids=["texts", "list", "map", "within", "struct", "bytes"],
)
async def test_large_texts_are_read_without_the_librarys_search(
    request_: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = json_format.MessageToJson(request_).encode()
    searched: list[int] = []

    class Search:
        def search(self, text: str) -> None:
            searched.append(len(text))

    monkeypatch.setattr(json_format, "_UNPAIRED_SURROGATE_PATTERN", Search())
    assert await JSON.read(raw, type(request_), bytes) == request_
    assert max(searched, default=0) <= 128 * KIB


@pytest.mark.parametrize("values", [100, 5000])
async def test_what_has_many_values_is_read_beside_others_however_short_it_is(
    values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []

    def parsed(*given: Any) -> Any:
        readers.append(threading.current_thread())
        return written.parsed(*given)

    monkeypatch.setattr(body, "parsed", parsed)
    raw = b'{"messages":[' + b"{}," * (values - 1) + b"{}]}"
    assert len(raw) < 16 * KIB
    made = await JSON.read(raw, V.CreateConversationRequest, bytes)
    assert isinstance(made, V.CreateConversationRequest)
    assert len(made.messages) == values
    assert (readers == [threading.main_thread()]) is (values == 100)


async def test_large_replies_are_written_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[Any] = []
    encoder = vars(json.encoder)["c_make_encoder"]

    def at_once(*how: Any) -> Any:
        whole.append(how)
        return encoder(*how)

    monkeypatch.setattr(json.encoder, "c_make_encoder", at_once)
    numbers: Any = {"list_value": {"values": [{"number_value": 0.1}, {"null_value": 0}]}}
    reply = C.ChatResponse(text=LARGE, finished={"structured": numbers})
    raw = await JSON.write(reply, C.ChatResponse.SerializeToString)
    assert not whole
    assert raw == written.written(reply, is_large=False)
    assert whole
    assert json_format.Parse(raw, C.ChatResponse()) == reply


MANY = LIMITS.request_json_values + 1


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * MANY,
        b'{"a":[' + b"1," * MANY + b"1]}",
        b'{"a":{' + b'"":1,' * MANY + b"}}",
        b'{"messages":[' + b"{}," * MANY + b"{}]}",
        b'{"prompt":"' + b"a" * 1000 + b'","x":[' + b'"",' * MANY + b'""]}',
        b'{"a":' + b'""' * 8 * MANY,
        b'{"a":' + b"1" * (16 * MIB) + b"}",
        b'{"a":0.' + b"1" * (16 * MIB) + b"}",
        b'{"a":[' + b",".join([b"1" * 4300] * 3000) + b"]}",
    ],
    ids=["nested", "numbers", "keys", "objects", "strings", "texts", "integer", "fraction", "digits"],
)
async def test_many_values_are_counted_before_they_are_read(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_more_values(raw, LIMITS.request_json_values)
    monkeypatch.delattr(json, "loads")
    raw = raw if raw[:1] == b"{" else b'{"a":' + raw
    made = await JSON.read(raw, C.ChatRequest, bytes)
    assert isinstance(made, InvalidRequest)
    assert str(LIMITS.request_json_values) in str(made)


async def test_what_is_in_texts_is_not_counted() -> None:
    text = '[{,"\\:' * 300_000 + "1" * MIB
    raw = json.dumps({"prompt": text}).encode()
    assert not has_more_values(raw, 10)
    made = await JSON.read(raw, C.ChatRequest, bytes)
    assert isinstance(made, C.ChatRequest)
    assert made.prompt == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "raw", [b'"' + b'\\"' * (8 * MIB), b'"\\' * (8 * MIB), b" " * (16 * MIB), b'"a\\\n' * (4 * MIB)]
)
def test_counting_takes_no_longer_for_texts_without_end(raw: bytes) -> None:
    assert not has_more_values(raw, 8 * MIB)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_counting_is_never_below_what_there_is(value: Any) -> None:
    def count(each: Any) -> int:
        inside = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        keys = len(each) if isinstance(each, dict) else 0
        return (isinstance(each, list | dict)) + keys + max(len(inside) - 1, 0) + sum(map(count, inside))

    raw = json.dumps(value).encode()
    expected = count(value)
    assert not has_more_values(raw, expected)
    assert expected == 0 or len(raw) <= expected - 1 or has_more_values(raw, expected - 1)


@settings(max_examples=300, deadline=None)
@given(st.text('"\\\\,[:{1a ', max_size=300), st.integers(0, 20))
def test_counting_window_by_window_is_counting_all_at_once(text: str, most: int) -> None:
    def counted(window_bytes: int) -> bool:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(jsonvalue, "_WINDOW_BYTES", window_bytes)
            return has_more_values(raw, most)

    raw = re.sub("1{20,}", "1", text).encode()  # a number may be parted
    assert counted(40) == counted(KIB)
