"""Bodies that are wrong in many ways: good ones, damaged."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

_GOOD: tuple[dict[str, Any], ...] = (
    {"model": "echo", "messages": [{"role": "user", "content": "hi there"}], "stream": True},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What é?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K", "detail": "low"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":[1]}'}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stop": ["a"],
        "logit_bias": {"5": 1},
        "temperature": 0.5,
        "max_tokens": 5,
        "logprobs": True,
        "top_logprobs": 2,
        "n": 1,
    },
    {"input": ["cat", "dog"], "model": "count", "encoding_format": "base64", "dimensions": 2},
)

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**53, -(2**63), 1e308, 0.1, "", " ", "\0", "\ud800", "x" * 3000, "é\u2028", [], {},
    [[]], [None], {"": {}}, {"type": "x"}, "data:,", "data:image/png;base64,!", "http://[", "null", "123", [0] * 200,
    {"a": "b"},
)  # fmt: skip

_RAW: tuple[bytes, ...] = (
    b"", b"{", b"}", b"[", b"null", b"true", b"3", b'"x"', b"[]", b"NaN", b"Infinity", b"-", b"{}", b"{'a':1}",
    b'{"a":1,}',
    b'{"a":1}x', b'{"a":1}{"b":2}', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"messages":NaN}', b'{"temperature":1e999}',
    b'{"a":1,"a":2}', b'{"seed":' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"a":' * 65 + b"1" + b"}" * 65, b'{"a":"\x00"}', b'{"a":"\\ud83d"}', b'{"a":"\\x"}', b'{"a":"\t"}', b"\x00" * 100,
    b'{"a":1e}', b'{"a":01}', b'{"a":.5}', b'{"messages":[' + b"{}," * 2000 + b"{}]}", b"//\n{}", b"\x1f\x8b\x08",
)  # fmt: skip


def body(rng: random.Random) -> bytes:
    """One body, most likely a wrong one."""
    way = rng.random()
    if way < 0.1:
        return rng.choice(_RAW)
    if way < 0.15:
        return rng.randbytes(rng.randrange(200))
    value = json.loads(json.dumps(rng.choice(_GOOD)))
    for _ in range(rng.randrange(1, 4)):
        _damage(value, rng)
    raw = json.dumps(value).encode()
    if way < 0.6:
        return raw
    return _cut(raw, rng)


def _damage(value: Any, rng: random.Random) -> None:
    """Put something odd in the place of something within, drop it, or add to it."""
    holders: list[Any] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            holders.append(each)
            waiting += each.values() if isinstance(each, dict) else each
    holder = rng.choice(holders)
    odd = copy.deepcopy(rng.choice(_ODD))
    if isinstance(holder, dict):
        keys = [*holder, rng.choice(("n", "audio", "functions", "stream_options", "seed", "base_url", "tool_choice"))]
        key = rng.choice(keys)
        if rng.random() < 0.2:
            holder.pop(key, None)
        else:
            holder[key] = odd
    elif holder and rng.random() < 0.7:
        holder[rng.randrange(len(holder))] = odd
    else:
        holder.append(odd)


def _cut(raw: bytes, rng: random.Random) -> bytes:
    """Damage the text itself."""
    at = rng.randrange(len(raw))
    match rng.randrange(5):
        case 0:
            return raw[:at]
        case 1:
            return raw[:at] + rng.randbytes(1) + raw[at + 1 :]
        case 2:
            return raw[:at] + rng.choice((b'"', b"{", b"]", b",", b"\\", b"\x00", b"\xc3")) + raw[at:]
        case 3:
            return raw[at:]
        case _:
            other = rng.randrange(len(raw))
            return raw[:at] + raw[other:]
