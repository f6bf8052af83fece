"""Addresses that callers have used to reach what is not public, and what comes of each: nothing."""

from __future__ import annotations

import pytest

from stepwired.providers.net.fetch import PUBLIC, ImageFetcher
from tests.providers.fetching import (
    CONSTANT,
    LIMITS,
    Canary,
    answering,
    fetcher,
    refused,
)

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
