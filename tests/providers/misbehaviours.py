"""The table: each way in which a provider misbehaves, F01 to F39, beside what has to come of it on every wire."""

from __future__ import annotations

import time
from collections.abc import Callable

from stepwired.errors import Reason
from tests.fakeprov import Behaviour, behaviours
from tests.providers.misbehaving import WIRES, Row, Talk, broken_later, cut_off, framed, limited, then_good, ways

_SOON = {"first_byte_s": 0.2}
_R = Reason


def _until(form: str) -> Callable[[Talk], Behaviour]:
    """A limit until a date in this form, half a minute after it is made."""

    def behave(talk: Talk) -> Behaviour:
        return limited({"retry-after": time.strftime(form, time.gmtime(time.time() + 30))})(talk)

    return behave


_BEFORE = [
    Row("F01 429", limited({"retry-after": "2"}), text="whole", asked=2, least_s=2.0, most_s=2.5),
    *(
        Row(f"F02 {form}", _until(form), text="whole", asked=2, least_s=1.0, most_s=31.0)
        for form in ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
    ),
    Row(
        "F03 two spellings",
        limited({"retry-after-ms": "700", "retry-after": "30"}),
        text="whole",
        asked=2,
        least_s=0.7,
        most_s=0.9,
    ),
    *(
        Row(f"F04 {said}", limited({"retry-after": said}), text="whole", asked=2, least_s=0.1, most_s=0.5)
        for said in ("soon", "-1", "1.5", "1e20")
    ),
    Row(
        "F06 quota",
        lambda talk: talk.refuse(429, {"retry-after": "2"}, "insufficient_quota"),
        _R.PROVIDER_QUOTA_EXHAUSTED,
        wires=("openai", "anthropic", "gemini"),
    ),
    Row(
        "F06 no time named",
        lambda talk: talk.refuse(429, {}, "rate_limit_error"),
        _R.PROVIDER_QUOTA_EXHAUSTED,
        wires=("anthropic",),
    ),
    *(
        Row(f"F07 {status}", lambda talk, status=status: talk.refuse(status), reason, asked=3)  # type: ignore[misc]
        for status, reason in {
            500: _R.PROVIDER_ERROR,
            502: _R.PROVIDER_ERROR,
            503: _R.PROVIDER_OVERLOADED,
            504: _R.PROVIDER_ERROR,
            529: _R.PROVIDER_OVERLOADED,
            408: _R.PROVIDER_ERROR,
        }.items()
    ),
    Row("F07 503 twice", then_good(503), text="whole", asked=3),
    *(
        Row(f"F08 {status}", lambda talk, status=status: talk.refuse(status), reason)  # type: ignore[misc]
        for status, reason in {
            400: _R.PROVIDER_REJECTED_REQUEST,
            401: _R.PROVIDER_API_KEY_INVALID,
            403: _R.PROVIDER_PERMISSION_DENIED,
            404: _R.MODEL_NOT_FOUND,
            413: _R.PROVIDER_REQUEST_TOO_LARGE,
            422: _R.PROVIDER_REJECTED_REQUEST,
        }.items()
    ),
    Row("F12 never answers", lambda _: behaviours.silent(), _R.PROVIDER_TIMEOUT, asked=2, budget=_SOON),
    Row(
        "F13 dribbles its head",
        lambda talk: behaviours.dribble(talk.chunked * 100, 0.01),
        _R.PROVIDER_TIMEOUT,
        asked=2,
        budget=_SOON,
    ),
    Row("F15 half-closes", lambda talk: behaviours.raw(talk.chunked, then="half_close"), _R.PROVIDER_STREAM_TRUNCATED),
    *(
        Row(
            f"F25 {coding}",
            lambda talk, coding=coding: talk.stream(talk.good, {"content-encoding": coding}),  # type: ignore[misc]
            _R.PROVIDER_RESPONSE_TOO_LARGE,
        )
        for coding in ("gzip", "deflate", "br", "zstd", "identity, gzip")
    ),
    *ways(
        "F27",
        _R.PROVIDER_PROTOCOL_ERROR,
        {
            "a chunk of no size": lambda talk: behaviours.raw(talk.chunked + b"zz\r\n"),
            "1,000 headers": lambda talk: behaviours.raw(talk.head + b"x: y\r\n" * 1000 + b"\r\n"),
            "a length and chunks": lambda talk: behaviours.raw(
                talk.head + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + framed(talk.good)
            ),
            "no HTTP": lambda _: behaviours.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            "TLS": lambda _: behaviours.raw(b"\x15\x03\x01\x00\x02\x02\x46"),
        },
        asked=2,
    ),
    *ways(
        "F27",
        _R.PROVIDER_RESPONSE_TOO_LARGE,
        {
            "a large header": lambda talk: behaviours.raw(talk.head + b"x: " + b"y" * 200_000 + b"\r\n\r\n"),
            "large headers": lambda talk: behaviours.raw(talk.head + b"x: %b\r\n" % (b"y" * 8000) * 10 + b"\r\n"),
        },
    ),
    *ways(
        "F27",
        _R.PROVIDER_UNREACHABLE,
        {
            "nothing": lambda _: behaviours.hang_up(),
            "a reset": lambda _: behaviours.hang_up(with_reset=True),
            "half a head": lambda talk: behaviours.raw(talk.head),
        },
        asked=3,
    ),
    Row(
        "F28 HTML",
        lambda _: behaviours.status(200, {"content-type": "text/html; charset=utf-8"}, b"<html>log in</html>"),
        _R.PROVIDER_PROTOCOL_ERROR,
        asked=2,
    ),
    Row(
        "F29 elsewhere",
        lambda _: behaviours.status(307, {"location": "http://127.0.0.1:1/elsewhere"}),
        _R.PROVIDER_REDIRECT_REFUSED,
    ),
    Row(
        "F30 an error instead of a reply",
        lambda talk: talk.stream(talk.event(talk.error("overloaded_error"))),
        _R.PROVIDER_OVERLOADED,
        asked=3,
        wires=("openai", "anthropic", "gemini"),
    ),
    Row(
        "F30 an error that is no stream",
        lambda talk: behaviours.status(200, {}, talk.error("overloaded_error")),
        _R.PROVIDER_OVERLOADED,
        asked=3,
        wires=("openai", "anthropic", "gemini"),
    ),
    Row(
        "F30 an error line",
        lambda talk: talk.stream(talk.event(talk.error(message="something"))),
        _R.PROVIDER_ERROR,
        asked=3,
        wires=("ollama",),
    ),
    *ways(
        "F31",
        _R.PROVIDER_PROTOCOL_ERROR,
        {
            "JSON nested 100,000 deep": lambda talk: talk.stream(
                talk.broken.replace(b"{", b'{"model":' + b"[" * 100_000)
            ),
        },
        asked=2,
    ),
    Row(
        "F31 2,000,000 objects",
        lambda talk: talk.stream(talk.broken.replace(b"{", b'{"x":[' + b"{}," * 2_000_000)),
        _R.PROVIDER_RESPONSE_TOO_LARGE,
    ),
    Row(
        "F35 100 for ever",
        lambda _: behaviours.dribble(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, 0.001),
        _R.PROVIDER_TIMEOUT,
        asked=2,
        budget=_SOON,
    ),
]

_AMID = [
    Row(
        "F09 fails after the first token",
        lambda talk: talk.stream(talk.begun + talk.event(talk.error("overloaded_error", "the model is overloaded"))),
        text="begun",
        reason=_R.PROVIDER_OVERLOADED,
        wires=("openai", "anthropic", "gemini"),
    ),
    Row(
        "F09 fails after the first token, in a line",
        lambda talk: talk.stream(talk.begun + talk.event(talk.error())),
        _R.PROVIDER_ERROR,
        "begun",
        wires=("ollama",),
    ),
    Row(
        "F14 dribbles its body",
        lambda talk: behaviours.dribble(talk.chunked + framed(talk.nothing) * 1000, 0.01),
        _R.PROVIDER_TIMEOUT,
        asked=2,
        text="any",
        budget={"total_s": 0.5},
    ),
    Row(
        "F14 falls silent",
        lambda talk: behaviours.silent(talk.chunked + framed(talk.begun)),
        _R.PROVIDER_STREAM_STALLED,
        "begun",
        budget={"idle_s": 1.0},
    ),
    *ways(
        "F16",
        _R.PROVIDER_STREAM_TRUNCATED,
        {"resets": lambda talk: cut_off(talk, "reset")},
        text="begun",
    ),
    *ways(
        "F17",
        _R.PROVIDER_STREAM_TRUNCATED,
        {
            "ends cleanly": lambda talk: talk.stream(talk.begun),
            "closes": lambda talk: cut_off(talk, "finish"),
            "closes where a close is the end": lambda talk: behaviours.raw(
                talk.head + b"connection: close\r\n\r\n" + talk.begun
            ),
        },
        text="begun",
    ),
    Row("F22 no JSON", lambda talk: talk.stream(talk.begun + talk.broken), _R.PROVIDER_PROTOCOL_ERROR, "begun"),
    Row(
        "F23 a line without end",
        lambda talk: talk.stream(talk.begun + b"x" * 2**21),
        _R.PROVIDER_RESPONSE_TOO_LARGE,
        "begun",
    ),
    Row(
        "F24 a reply without end",
        lambda talk: behaviours.raw(talk.chunked + framed(talk.begun) + framed(talk.nothing * 2000) * 20, then="keep"),
        _R.PROVIDER_RESPONSE_TOO_LARGE,
        "any",  # what comes in one read with too much
        budget={"body_bytes": 100_000},
    ),
    *ways(
        "F27",
        _R.PROVIDER_STREAM_TRUNCATED,
        {
            "content-length too long": lambda talk: behaviours.raw(
                talk.head + b"content-length: 9999\r\n\r\n" + talk.begun
            ),
            "a chunk cut short": lambda talk: behaviours.raw(talk.chunked + framed(talk.begun) + b"ff\r\ndata"),
            "no chunk later on": broken_later,
        },
        text="begun",
    ),
    Row(
        "F37 10,000 tool calls",
        lambda talk: talk.stream(talk.begun + b"".join(map(talk.call, range(10_000)))),
        _R.PROVIDER_PROTOCOL_ERROR,
        "begun",
    ),
]

_GOOD = [
    Row(name, behave, text="whole", wires=wires or WIRES)
    for name, behave, wires in (
        ("F18 no [DONE]", lambda talk: talk.stream(talk.good.replace(behaviours.DONE, b"")), ("openai",)),
        (
            "F19 more after its end",
            lambda talk: talk.stream(talk.good + talk.more),
            ("openai", "anthropic", "ollama"),
        ),
        ("F20 no end of the body", lambda talk: behaviours.silent(talk.chunked + framed(talk.good)), None),
        ("F20 a reset", lambda talk: behaviours.raw(talk.chunked + framed(talk.good), then="reset"), None),
        (
            "F26 charset",
            lambda talk: talk.stream(talk.good, {"content-type": f"{talk.media_type}; charset=utf-16"}),
            None,
        ),
        (
            "F35 1,000 early hints",
            lambda talk: behaviours.raw(
                b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1000 + talk.chunked + framed(talk.good), then="keep"
            ),
            None,
        ),
    )
]

#: All rows, with the wires that each is for.
TABLE = [*_BEFORE, *_AMID, *_GOOD]
