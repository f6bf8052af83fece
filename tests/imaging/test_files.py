"""Which files of this machine a caller can have read, which is almost none."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from stepwired.errors import Failure, NotFound, Reason
from stepwired.imaging import files as module
from stepwired.imaging.files import Files
from stepwired.limits import Limits

LIMITS = Limits(image_bytes=1000)
FIELD = "image.server_path"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"a")
    (folder / "inner" / "b.png").write_bytes(b"b")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "images2").mkdir()
    (tmp_path / "images2" / "a.png").write_bytes(b"secret")
    return folder


async def refusal(files: Files, path: str | Path) -> Failure:
    with pytest.raises(Failure) as caught:
        await files.read(str(path), FIELD)
    assert caught.value.__cause__ is None
    return caught.value


def all_of(failure: Failure) -> tuple[Any, ...]:
    return (
        type(failure),
        failure.reason,
        str(failure),
        failure.metadata,
        failure.violations,
        failure.subject,
        failure.retry_after_s,
    )


async def test_a_file_below_a_root_is_read(root: Path) -> None:
    files = Files([root], LIMITS)
    assert await files.read(str(root / "a.png"), FIELD) == b"a"
    assert await files.read(str(root / "inner" / "b.png"), FIELD) == b"b"
    assert await files.read(f"{root}/inner/../a.png", FIELD) == b"a"
    assert await files.read(f"{root}//inner/./b.png", FIELD) == b"b"


async def test_a_root_may_be_reached_through_a_link_of_its_operator(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    files = Files([link], LIMITS)
    assert await files.read(str(link / "a.png"), FIELD) == b"a"
    assert await files.read(str(root / "a.png"), FIELD) == b"a"


async def test_a_link_within_a_root_to_within_a_root_is_followed(root: Path) -> None:
    (root / "same.png").symlink_to("inner/b.png")
    (root / "other").symlink_to(root / "inner")
    files = Files([root], LIMITS)
    assert await files.read(str(root / "same.png"), FIELD) == b"b"
    assert await files.read(str(root / "other" / "b.png"), FIELD) == b"b"


async def test_what_is_outside_is_refused_alike_whether_it_is_there_or_not(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "dangling").symlink_to(tmp_path / "missing")
    (root / "up").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    outside: list[str | Path] = [
        tmp_path / "secret",
        tmp_path / "missing",
        tmp_path / "images2" / "a.png",
        tmp_path / "images2" / "missing",
        f"{root}2/a.png",
        f"{root}/../secret",
        f"{root}/../missing",
        f"{root}/inner/../../secret",
        root / "out",
        root / "dangling",
        root / "up" / "secret",
        root / "up" / "missing",
        root / "pipe",
        root / "socket",
        root / "inner",
        root,
        f"{root}/",
        "/",
        "",
        "a.png",
        "../secret",
        "~/a.png",
        f"file://{root}/a.png",
        f"{root}/a.png\0",
        "/" + "a" * 5000,
        "/proc/self/environ",
        f"/proc/self/root{root}/a.png",
        f"/proc/self/cwd{root}/a.png",
        "/dev/zero",
        "/etc/passwd",
    ]
    files = Files([root], LIMITS)
    answers = {repr(all_of(await refusal(files, path))) for path in outside}
    assert len(answers) == 1
    assert Reason.FILE_ACCESS_DENIED in answers.pop()


async def test_without_roots_all_is_refused_in_the_same_words(root: Path) -> None:
    denied = await refusal(Files([root], LIMITS), "/etc/passwd")
    assert all_of(await refusal(Files([], LIMITS), root / "a.png")) == all_of(denied)


async def test_what_the_service_may_not_read_is_refused_like_what_is_outside(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = await refusal(Files([root], LIMITS), "/etc/passwd")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "no")

    monkeypatch.setattr(module, "_open", refuse)
    assert all_of(await refusal(Files([root], LIMITS), root / "a.png")) == all_of(denied)


async def test_the_system_itself_is_never_below_a_root() -> None:
    files = Files([Path("/"), Path("/proc")], Limits())
    for path in ("/proc/self/environ", "/proc/self/status", "/proc/1/environ", "/sys/kernel/notes", "/dev/zero"):
        assert (await refusal(files, path)).reason is Reason.FILE_ACCESS_DENIED


async def test_what_is_not_there_below_a_root_is_said_to_be_missing(root: Path) -> None:
    files = Files([root], LIMITS)
    for path in (root / "missing", root / "inner" / "missing", root / "missing" / "a", root / "a.png" / "b"):
        failure = await refusal(files, path)
        assert isinstance(failure, NotFound)
        assert failure.reason is Reason.FILE_NOT_FOUND


async def test_a_file_may_be_as_large_as_the_limit_and_no_larger(root: Path) -> None:
    files = Files([root], LIMITS)
    (root / "large").write_bytes(bytes(1000))
    assert len(await files.read(str(root / "large"), FIELD)) == 1000
    (root / "large").write_bytes(bytes(1001))
    failure = await refusal(files, root / "large")
    assert failure.reason is Reason.IMAGE_TOO_LARGE
    assert failure.violations[0].field == FIELD


async def test_a_file_that_grows_while_it_is_read_is_cut_off(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: int, count: int) -> bytes:
        return bytes(count)

    monkeypatch.setattr(os, "read", endless)
    assert (await refusal(Files([root], LIMITS), root / "a.png")).reason is Reason.IMAGE_TOO_LARGE


@pytest.mark.parametrize("step", ["a.png", "inner"])
async def test_a_link_that_is_put_there_after_the_look_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The worst moment of a race, made to happen: between finding out where a path leads and opening it."""
    (tmp_path / "b.png").write_bytes(b"secret")
    asked = root / ("a.png" if step == "a.png" else "inner/b.png")
    realpath = os.path.realpath

    def swap(path: str) -> str:
        real = realpath(path)
        (root / step).rename(root / "moved")
        (root / step).symlink_to(tmp_path / "secret" if step == "a.png" else tmp_path)
        return real

    files = Files([root], LIMITS)
    monkeypatch.setattr(os.path, "realpath", swap)
    assert (await refusal(files, asked)).reason is Reason.FILE_ACCESS_DENIED


async def test_swapping_for_real_never_gives_a_secret_away(root: Path, tmp_path: Path) -> None:
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for target in (tmp_path / "secret", root / "inner" / "b.png"):
                (root / "new").symlink_to(target)
                (root / "new").rename(root / "a.png")

    swapping = threading.Thread(target=swap)
    swapping.start()
    files, read = Files([root], LIMITS), set()
    try:
        for _ in range(500):
            try:
                read.add(await files.read(str(root / "a.png"), FIELD))
            except Failure as failure:
                read.add(failure.reason.encode())
    finally:
        over.set()
        swapping.join()
    assert read <= {b"a", b"b", b"FILE_ACCESS_DENIED"}
