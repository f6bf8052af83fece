"""The page's files, read once: nothing else of the disk can be asked for."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from stepwired.web.exchange import Exchange, Headers

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_OTHER = "application/octet-stream"
_REFUSED = re.compile(rb"q=0(\.0*)?")

_HEADERS: Headers = [
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    # Asked for each time, and sent only if it changed: after an update nobody mixes old files with new ones.
    (b"cache-control", b"no-cache"),
    (b"vary", b"Accept-Encoding"),
]


@dataclass(frozen=True, slots=True)
class File:
    """One file."""

    plain: bytes
    packed: bytes
    """As gzip; empty where that is not smaller."""

    kind: bytes
    etag: bytes
    """A weak one: it stands for both forms."""

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        known = exchange.headers.get(b"if-none-match", b"")
        headers: Headers = [*_HEADERS, (b"etag", self.etag)]
        if _opaque(self.etag) in map(_opaque, known.split(b",")):
            await exchange.start(304, headers)
            await exchange.send({"type": "http.response.body"})
            return
        body = self.plain
        if self.packed and _takes_gzip(exchange.headers.get(b"accept-encoding", b"")):
            body = self.packed
            headers.append((b"content-encoding", b"gzip"))
        await exchange.answer(200, body, [*headers, (b"content-type", self.kind)])


def page() -> Mapping[str, File]:
    """Read the page's files: each by its path on this server; `/` is `index.html`."""
    root = files("stepwired.web") / "page"
    if not root.is_dir():
        return {}
    found = dict(_below(root, "/"))
    if "/index.html" in found:
        found["/"] = found["/index.html"]
    return found


def _opaque(etag: bytes) -> bytes:
    """What weak comparison looks at (RFC 9110, 8.8.3.2): proxies may take the mark of a weak one off."""
    return etag.strip().removeprefix(b"W/")


def _takes_gzip(accepted: bytes) -> bool:
    """Whether `Accept-Encoding` has gzip, and does not name it in order to refuse it."""
    for each in accepted.lower().split(b","):
        name, _, weight = each.partition(b";")
        if name.strip() == b"gzip":
            return _REFUSED.fullmatch(weight.strip()) is None
    return False


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, File]]:
    for each in folder.iterdir():
        if each.name.startswith((".", "__")):
            continue
        if each.is_dir():
            yield from _below(each, f"{path}{each.name}/")
        else:
            yield path + each.name, _file(each.name, each.read_bytes())


def _file(name: str, plain: bytes) -> File:
    _, dot, suffix = name.rpartition(".")
    packed = gzip.compress(plain, mtime=0)
    return File(
        plain,
        packed if len(packed) < len(plain) else b"",
        _TYPES.get(dot + suffix, _OTHER).encode(),
        b'W/"%b"' % hashlib.sha256(plain).hexdigest()[:32].encode(),
    )
