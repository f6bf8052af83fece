"""Fetching pictures from addresses that callers choose: what is reached, and what is never."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpcore
import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.limits import Limits
from stepwired.providers.fetch import PUBLIC, ImageFetcher
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours

LIMITS = Limits(image_bytes=1000)
FIELD = "messages[0].images[0].uri"
PICTURE = b"\x89PNG and more"
TLS = Path(__file__).parent / "tls"

Answers = Callable[..., list[tuple[int, int, int, str, tuple[Any, ...]]]]


def picture(data: bytes = PICTURE, content_type: str = "image/png") -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.body(data, content_type=content_type)

    return behave


def redirect(*targets: str, status: int = 302) -> Behaviour:
    """Send the caller from one to the next, and then the picture."""

    async def behave(exchange: Exchange) -> None:
        if exchange.number < len(targets):
            await exchange.head(status, {"location": targets[exchange.number], "content-length": "0"})
        else:
            await exchange.body(PICTURE, content_type="image/png")

    return behave


def fetcher(port: int, *, loopback: bool = True, **options: Any) -> ImageFetcher:
    """The rules of production but for the port and, where `loopback` says so, one address."""
    policy = replace(PUBLIC, allowed_ports=frozenset({port}))
    if loopback:
        policy = replace(policy, allowed_networks=("127.0.0.1/32",))  # type: ignore[arg-type] # it parses them
    return ImageFetcher(LIMITS, policy=policy, **options)


def answering(*addresses: str, then: tuple[str, ...] = ()) -> tuple[Answers, list[str]]:
    """A resolver that gives these addresses, the first time; and the names that it was asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, *_: object) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
        asked.append(host)
        given = addresses if len(asked) == 1 else then or addresses
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in given
        ]

    return resolve, asked


async def refused(fetcher: ImageFetcher, url: str) -> str:
    """All that a caller gets to know."""
    with pytest.raises(InvalidRequest) as caught:
        await fetcher.fetch(url, FIELD)
    failure = caught.value
    assert failure.reason is Reason.IMAGE_URL_UNAVAILABLE
    assert failure.__cause__ is None
    return repr((str(failure), failure.metadata, failure.violations, failure.subject, failure.retry_after_s))


CONSTANT = (
    "('messages[0].images[0].uri: cannot be fetched by this server', {}, "
    "(Violation(field='messages[0].images[0].uri', description='cannot be fetched by this server', "
    "reason=<Reason.IMAGE_URL_UNAVAILABLE: 'IMAGE_URL_UNAVAILABLE'>),), None, None)"
)


@dataclass
class Canary:
    port: int
    accepts: int = 0
    attempts: list[str] = field(default_factory=list)
    """Addresses that a connection was tried to."""


@pytest.fixture
async def canary(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Canary]:
    """Listens on every address of this machine, and sees every try to connect to any other."""

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.accepts += 1
        writer.close()

    connect = httpcore.AnyIOBackend.connect_tcp

    async def watch(self: Any, host: str, *arguments: Any, **options: Any) -> Any:
        seen.attempts.append(host)
        return await connect(self, host, *arguments, **options)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", watch)
    async with await asyncio.start_server(accept, "0.0.0.0", 0) as server:
        seen = Canary(server.sockets[0].getsockname()[1])
        with socket.socket(socket.AF_INET6) as six:
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            six.bind(("::", seen.port))
            async with await asyncio.start_server(accept, sock=six):
                yield seen


_HOSTS = """
    127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.0.0.1 0x7f.1 0177.0.0.1 017700000001 0 0.0.0.0 127.0.0.1.
    localhost LOCALHOST localhost. ①②⑦.0.0.1 127。0。0。1 127.127.127.127
    10.0.0.1 172.16.0.1 192.168.0.1 169.254.169.254 0xa9fea9fe 2852039166 100.100.100.200 100.64.0.1 168.63.129.16
    192.0.0.1 192.0.0.9 192.0.0.10 192.0.0.100 192.0.0.170 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1
    203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    [::] [::1] [0:0:0:0:0:0:0:1] [::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:0:127.0.0.1]
    [::ffff:169.254.169.254] [64:ff9b::7f00:1] [64:ff9b::a9fe:a9fe] [64:ff9b::10.0.0.1] [64:ff9b:1::1]
    [2002:7f00:1::] [2002:a9fe:a9fe::1] [2002:a00:1::] [2001::7f00:1] [2001:0:7f00:1::] [2001:db8::1] [2001:10::1]
    [100::1] [fc00::1] [fd00::1] [fd00:ec2::254] [fe80::1] [fe80::1%25lo] [fec0::1] [ff02::1] [ff0e::1] [3fff::1]
    [5f00::1] [4000::1] [e000::1] [::2]
"""
#: Everything that has been used to reach what is not public.
HOSTS = _HOSTS.split()

_OTHERS = r"""
    data:image/png;base64,AAAA file:///etc/passwd gopher://127.0.0.1:{port}/ ftp://127.0.0.1:{port}/ //127.0.0.1:{port}/
    ws://127.0.0.1:{port}/ http:127.0.0.1:{port}/ http:///a.png http://127.0.0.1:{port}\@8.8.8.8/
    http://user:password@127.0.0.1:{port}/ http://user@127.0.0.1:{port}/ http://@127.0.0.1:{port}/
    http://8.8.8.8@127.0.0.1:{port}/ http://127.0.0.1:{port}:80/ http://127.0.0.1:99999/ http://127.0.0.1:0/
    http://127.0.0.1:-1/ http://[127.0.0.1]:{port}/ http://[::1/ http://a..b:{port}/ http://%31%32%37.0.0.1:{port}/
    a.png http: http://
"""
#: Addresses that are none, or none of ours, on a port that is allowed.
OTHERS = _OTHERS.split()


@pytest.mark.parametrize("host", HOSTS)
async def test_nothing_that_is_not_public_is_ever_connected_to(canary: Canary, host: str) -> None:
    told = await refused(fetcher(canary.port, loopback=False), f"http://{host}:{canary.port}/a.png")
    assert told == CONSTANT
    assert (canary.accepts, canary.attempts) == (0, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "169.254.169.254", "[64:ff9b::7f00:1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_production_builds_refuses_them_too(canary: Canary, host: str, scheme: str) -> None:
    assert await refused(ImageFetcher(LIMITS), f"{scheme}://{host}/a.png") == CONSTANT
    assert (canary.accepts, canary.attempts) == (0, [])


@pytest.mark.parametrize(
    "address",
    [host.strip("[]") for host in HOSTS if host[0] == "[" and "%" not in host]
    + [host for host in HOSTS if host.count(".") == 3 and host.isascii() and host[-1].isdigit() and host[:2] != "0x"],
)
async def test_a_name_that_leads_there_is_no_way_around(canary: Canary, address: str) -> None:
    if address.startswith("0177"):
        address = "127.0.0.1"  # a resolver answers with addresses, not with spellings of them
    for answers in ((address,), ("8.8.8.8", address), (address, "8.8.8.8")):
        resolver, _ = answering(*answers)
        told = await refused(fetcher(canary.port, loopback=False, resolver=resolver), f"http://a.test:{canary.port}/")
        assert told == CONSTANT
    assert (canary.accepts, canary.attempts) == (0, [])


@pytest.mark.parametrize("url", OTHERS)
async def test_other_schemes_credentials_and_broken_addresses_are_refused(canary: Canary, url: str) -> None:
    assert await refused(fetcher(canary.port), url.format(port=canary.port)) == CONSTANT
    assert (canary.accepts, canary.attempts) == (0, [])


@pytest.mark.parametrize("text", ["\r\nX: y", "\n", "\t", " ", "\0", "\x7f"])
async def test_no_control_character_gets_into_a_request(canary: Canary, text: str) -> None:
    for url in (f"http://127.0.0.1:{canary.port}/{text}", f"http://127.0.0.1{text}:{canary.port}/"):
        assert await refused(fetcher(canary.port), url) == CONSTANT
    assert (canary.accepts, canary.attempts) == (0, [])


@pytest.mark.parametrize("port", [22, 25, 6379, 8080, 50051])
async def test_only_the_ports_of_the_web_are_reached(canary: Canary, port: int) -> None:
    assert PUBLIC.allowed_ports == {80, 443}
    assert await refused(ImageFetcher(LIMITS), f"http://8.8.8.8:{port}/a.png") == CONSTANT
    assert canary.attempts == []


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
