"""The rules on addresses: where this server may listen, and how a provider's is written."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


class CannotListen(Exception):
    """The server cannot take calls at this address. `str()` of it is one line that says what to do."""


def check_free(host: str, port: int, variable: str) -> None:
    """Find out beforehand that nothing can listen there: those who would try log pages about it.

    Args:
        host: Where to listen.
        port: The port; 0 for any.
        variable: Which chooses another.

    Raises:
        CannotListen: The address is not of this machine's loopback, or taken.
    """
    if (refused := listening_fault(host)) is not None:
        raise CannotListen(refused)
    if not port:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise taken(host, port, variable) from None


def taken(host: str, port: int, variable: str) -> CannotListen:
    """What is raised where another program listens already."""
    where = joined(host, port)
    return CannotListen(f"cannot listen on {where}: another program does; stop it, or choose a port with {variable}")


def joined(host: str, port: int) -> str:
    """Host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening_fault(host: str) -> str | None:
    """Say why nothing may listen on `host`; None for an address or name of this machine's loopback."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if is_loopback:
        return None
    return f"refusing to listen on {host}: without TLS and tokens only a loopback address such as 127.0.0.1 is safe"


def url_fault(url: str) -> str | None:
    """Say what is wrong with a provider's address without repeating it: it is shown and logged, and may hold a key."""
    if not url.startswith(("http://", "https://")):
        return "has to begin with http:// or https://"
    elsewhere = "keys are read from `api_key_env` or `api_key_file`"
    if "?" in url or "#" in url:
        return f"may not have a query or a fragment: {elsewhere}"
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            return f"may not hold a user or a password: {elsewhere}"
        return None if parts.hostname and parts.port != 0 else "names no server"
    except ValueError:
        return "is no address"
