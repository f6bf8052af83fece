"""What tests of fetching share: servers, resolvers, a canary, and what a caller gets to know."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.limits import Limits
from stepwired.providers.net.fetch import PUBLIC, ImageFetcher
from tests.fakeprov import Behaviour, Exchange

LIMITS = Limits(image_bytes=1000)
FIELD = "messages[0].images[0].uri"
PICTURE = b"\x89PNG and more"

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
