"""Fetching pictures from addresses that callers choose: what is reached, and what is never."""

from __future__ import annotations

import asyncio
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepwired.providers.net.fetch import PUBLIC, ImageFetcher
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.providers.fetching import (
    CONSTANT,
    FIELD,
    LIMITS,
    PICTURE,
    Canary,
    answering,
    fetcher,
    picture,
    redirect,
    refused,
)

TLS = Path(__file__).parent / "tls"


async def test_a_picture_is_fetched_with_nothing_of_ours() -> None:
    async with Provider(picture()) as server:
        url = f"http://127.0.0.1:{server.port}/a%20b/c.png?q=1&r=ü#part"
        assert await fetcher(server.port).fetch(url, FIELD) == PICTURE
        (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/a%20b/c.png?q=1&r=%C3%BC")
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "image/*",
        "accept-encoding": "identity",
        "user-agent": "stepwired",
    }


async def test_each_fetch_has_a_connection_of_its_own() -> None:
    async with Provider(picture()) as server:
        fetch = fetcher(server.port).fetch
        for _ in range(3):
            await fetch(f"http://127.0.0.1:{server.port}/", FIELD)
        assert len(server.connections) == 3
        await server.closed(3)


async def test_no_proxy_of_the_environment_is_used(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    async with Provider(picture()) as server:
        assert await fetcher(server.port).fetch(f"http://127.0.0.1:{server.port}/", FIELD) == PICTURE
    assert canary.accepts == 0


async def test_a_name_is_looked_up_once_and_the_connection_goes_to_what_was_checked(canary: Canary) -> None:
    async with Provider(picture()) as server:
        resolver, asked = answering("127.0.0.1", then=("127.0.0.2",))  # rebinding: the second answer is the trap
        fetched = await fetcher(server.port, resolver=resolver).fetch(f"http://a.test:{server.port}/", FIELD)
        assert fetched == PICTURE
        assert server.requests[0].headers["host"] == f"a.test:{server.port}"
    assert asked == ["a.test"]
    assert canary.attempts == ["127.0.0.1"]


async def test_a_name_that_changed_its_mind_is_refused_at_its_next_lookup(canary: Canary) -> None:
    async with Provider(redirect("/again")) as server:
        resolver, asked = answering("127.0.0.1", then=("127.0.0.2",))
        assert await refused(fetcher(server.port, resolver=resolver), f"http://a.test:{server.port}/") == CONSTANT
    assert asked == ["a.test", "a.test"]
    assert canary.attempts == ["127.0.0.1"]


async def test_the_next_address_of_a_name_is_tried_but_not_all_of_many(canary: Canary) -> None:
    async with Provider(picture()) as server:
        policy = replace(
            PUBLIC,
            allowed_ports=frozenset({server.port}),
            allowed_networks=("127.0.0.0/8",),  # type: ignore[arg-type]
        )
        resolver, _ = answering("127.0.0.9", "127.0.0.1")
        fetching = ImageFetcher(LIMITS, policy=policy, resolver=resolver)
        assert await fetching.fetch(f"http://a.test:{server.port}/", FIELD) == PICTURE
        canary.attempts.clear()
        resolver, _ = answering(*(f"127.0.0.{last}" for last in range(2, 100)))
        await refused(ImageFetcher(LIMITS, policy=policy, resolver=resolver), f"http://a.test:{server.port}/")
        assert len(canary.attempts) == PUBLIC.max_connection_attempts


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    async with Provider(redirect("/b", "c?d", status=status)) as server:
        assert await fetcher(server.port).fetch(f"http://127.0.0.1:{server.port}/x/a", FIELD) == PICTURE
        assert [request.path for request in server.requests] == ["/x/a", "/b", "/c?d"]


async def test_three_redirects_are_followed_and_no_more() -> None:
    async with Provider(redirect("/1", "/2", "/3")) as server:
        assert await fetcher(server.port).fetch(f"http://127.0.0.1:{server.port}/0", FIELD) == PICTURE
    async with Provider(redirect("/1", "/2", "/3", "/4")) as server:
        assert await refused(fetcher(server.port), f"http://127.0.0.1:{server.port}/0") == CONSTANT
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://localhost.:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "//169.254.169.254/latest/meta-data/",
        "http://user:password@127.0.0.1:{port}/",
        "http://127.0.0.1:1/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "gopher://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/\u00fc",
        "",
    ],
)
async def test_each_redirect_is_an_address_like_the_first(canary: Canary, target: str) -> None:
    async with Provider(redirect("/next", target.format(port=canary.port), "/", "/")) as server:
        assert await refused(fetcher(server.port), f"http://127.0.0.1:{server.port}/") == CONSTANT
    assert canary.accepts == 0
    assert set(canary.attempts) == {"127.0.0.1"}


def trusting(name: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=TLS / f"{name}.pem")


def certified(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{name}.pem")
    return context


async def test_https_is_checked_and_never_left_for_http() -> None:
    async with Provider(picture(), tls=certified("valid")) as server:
        url = f"https://127.0.0.1:{server.port}/"
        assert await fetcher(server.port, ssl_context=trusting("valid")).fetch(url, FIELD) == PICTURE
        assert await refused(fetcher(server.port), url) == CONSTANT
        server.behaviour = redirect(*[f"http://127.0.0.1:{server.port}/"] * 9)
        asked = len(server.requests)
        assert await refused(fetcher(server.port, ssl_context=trusting("valid")), url) == CONSTANT
        assert len(server.requests) == asked + 1


async def test_a_certificate_is_checked_against_the_name_and_not_the_address() -> None:
    resolver, _ = answering("127.0.0.1")
    async with Provider(picture(), tls=certified("valid")) as server:  # it is for 127.0.0.1
        fetching = fetcher(server.port, ssl_context=trusting("valid"), resolver=resolver)
        assert await refused(fetching, f"https://a.test:{server.port}/") == CONSTANT
        assert server.requests == []


PNG_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 9\r\n"

ANSWERS: dict[str, Behaviour] = {
    "HTML": picture(content_type="text/html"),
    "no type": picture(content_type=""),
    "an application": picture(content_type="application/octet-stream"),
    "too large": picture(bytes(1001)),
    "too large, in chunks": behaviours.stream(bytes(2000), {"content-type": "image/png"}),
    "without end": behaviours.endless(b"x" * 100),
    "compressed": behaviours.raw(PNG_HEAD + b"content-encoding: gzip\r\n\r\nabcdefghi"),
    "missing": behaviours.status(404),
    "an error": behaviours.status(500),
    "nothing new": behaviours.status(304),
    "a part": behaviours.status(206, {"content-type": "image/png"}),
    "hung up": behaviours.hang_up(),
    "reset": behaviours.hang_up(with_reset=True),
    "no HTTP": behaviours.raw(b"SSH-2.0-OpenSSH\r\n"),
    "cut off": behaviours.raw(PNG_HEAD + b"\r\nabc"),
    "a head without end": behaviours.raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000),
    "a redirect to nowhere": behaviours.status(302),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_whatever_else_comes_is_told_in_the_same_words(name: str) -> None:
    async with Provider(ANSWERS[name]) as server:
        assert await refused(fetcher(server.port), f"http://127.0.0.1:{server.port}/") == CONSTANT, name


async def test_a_picture_may_be_as_large_as_the_limit() -> None:
    async with Provider(picture(bytes(1000))) as server:
        assert len(await fetcher(server.port).fetch(f"http://127.0.0.1:{server.port}/", FIELD)) == 1000


@pytest.mark.parametrize("behaviour", [behaviours.silent(), behaviours.dribble(b"HTTP/1.1 200 OK\r\nx: yyyyyyyy", 0.1)])
async def test_who_takes_too_long_is_left(behaviour: Behaviour) -> None:
    async with Provider(behaviour) as server:
        assert await refused(fetcher(server.port, total_s=0.3), f"http://127.0.0.1:{server.port}/") == CONSTANT
        await server.closed()


async def test_a_lookup_that_hangs_holds_up_neither_its_caller_nor_us() -> None:
    release = threading.Event()

    def hang(*_: object) -> list[Any]:
        release.wait(30)
        return []

    fetching = fetcher(80, resolver=hang, total_s=0.2)
    try:
        results = await asyncio.gather(*(refused(fetching, "http://a.test/") for _ in range(20)))
        assert set(results) == {CONSTANT}
        assert sum(thread.name == "lookup" for thread in threading.enumerate()) <= 8
    finally:
        release.set()


async def test_a_cancelled_fetch_closes_its_connection() -> None:
    async with Provider(behaviours.silent()) as server:
        fetching = asyncio.create_task(fetcher(server.port).fetch(f"http://127.0.0.1:{server.port}/", FIELD))
        await server.asked.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await server.closed()


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("img.test", True),
        ("IMG.test", True),
        ("a.cdn.test", True),
        ("cdn.test", False),
        ("evilimg.test", False),
        ("img.test.evil.test", False),
        ("127.0.0.1", False),
    ],
)
async def test_only_listed_hosts_are_fetched_from(host: str, is_allowed: bool) -> None:
    async with Provider(picture()) as server:
        resolver, asked = answering("127.0.0.1")
        fetching = fetcher(server.port, resolver=resolver, allow_hosts=["img.test", "*.cdn.test"])
        url = f"http://{host}:{server.port}/"
        if is_allowed:
            assert await fetching.fetch(url, FIELD) == PICTURE
        else:
            assert await refused(fetching, url) == CONSTANT
            assert asked == []  # not even its name server learns of it


async def test_a_host_that_cannot_be_one_is_said_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"a\.\*\.b"):
        ImageFetcher(LIMITS, allow_hosts=["a.*.b"])
