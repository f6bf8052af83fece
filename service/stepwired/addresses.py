"""The rules on addresses: where this server may listen, and how a provider's is written."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


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
