"""A model that is published in many pieces, through the real pip and a folder of ours as its index."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from stepwired.local import catalogue, gguf, models, pieces
from stepwired.local.catalogue import Kind, KnownModel, Part
from stepwired.local.fetch import Progress, PullError
from tests.local.conftest import gguf_bytes

PIECE_BYTES = 40_000


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def recipe(links: Path, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """A model of three pieces, the last one shorter, that `pull` knows."""
    whole = gguf_bytes(general__architecture="llama", llama__context_length=77) + os.urandom(100_000)
    parts = []
    for number, at in enumerate(range(0, len(whole), PIECE_BYTES), 1):
        content = whole[at : at + PIECE_BYTES]
        name = f"piece{number}-1.0"
        with zipfile.ZipFile(links / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"piece{number}/data.bin", content)
            info = f"{name}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: piece{number}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256(content).hexdigest()
        member = f"piece{number}/data.bin"
        parts.append(Part(f"piece{number}", f"piece{number}", "1.0", 41_000, member, len(content), digest))
    made = KnownModel(
        "pieced",
        "In pieces",
        Kind.CHAT,
        "MIT",
        "for tests",
        tuple(parts),
        joined_sha256=hashlib.sha256(whole).hexdigest(),
    )
    monkeypatch.setattr(catalogue, "KNOWN", (made,))
    return made


def kept(data_dir: Path) -> Path:
    return data_dir / "models" / ".resume-pieced" / "joined"


def test_pieces_become_one_file_and_nothing_else_is_left(tmp_path: Path, recipe: KnownModel) -> None:
    reports: list[Progress] = []
    model = models.pull(tmp_path / "data", "pieced", report=reports.append)
    (file,) = model.files
    assert hashlib.sha256(file.read_bytes()).hexdigest() == recipe.joined_sha256
    assert (model.context_length, model.has_tools) == (77, False)
    assert sorted(path.name for path in (tmp_path / "data" / "models").iterdir()) == [".lock", "pieced"]
    downloads = [report for report in reports if report.activity.startswith("downloading")]
    assert {report.activity for report in downloads} == {
        f"downloading pieced, part {number} of 3" for number in (1, 2, 3)
    }
    done = [report.done_bytes for report in downloads]
    assert (done, done[-1]) == (sorted(done), recipe.download_bytes)


def test_a_pull_that_broke_off_goes_on_from_there(tmp_path: Path, recipe: KnownModel, links: Path) -> None:
    third = links / "piece3-1.0-py3-none-any.whl"
    away = third.rename(tmp_path / third.name)
    with pytest.raises(PullError, match=r"piece3==1\.0.*; 2 of 3 parts are kept: pull again to go on"):
        models.pull(tmp_path / "data", "pieced")
    assert kept(tmp_path / "data").stat().st_size == 2 * PIECE_BYTES
    assert pieces.missing(recipe, tmp_path / "data" / "models") == recipe.parts[2:]
    away.rename(third)
    for number in (1, 2):  # nobody asks for them again
        (links / f"piece{number}-1.0-py3-none-any.whl").unlink()
    assert models.pull(tmp_path / "data", "pieced").name == "pieced"


def test_half_a_piece_is_none(tmp_path: Path, recipe: KnownModel) -> None:
    file = kept(tmp_path / "data")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * (PIECE_BYTES - 1))
    (model_file,) = models.pull(tmp_path / "data", "pieced").files
    assert hashlib.sha256(model_file.read_bytes()).hexdigest() == recipe.joined_sha256


def test_a_whole_that_is_not_what_was_meant_is_not_kept(
    tmp_path: Path, recipe: KnownModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "KNOWN", (replace(recipe, joined_sha256="0" * 64),))
    with pytest.raises(PullError, match=f"not {'0' * 64}"):
        models.pull(tmp_path / "data", "pieced")
    assert [path.name for path in (tmp_path / "data" / "models").iterdir()] == [".lock"]


def test_what_has_come_can_be_removed(tmp_path: Path, recipe: KnownModel) -> None:
    file = kept(tmp_path / "data")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 100)
    assert models.remove(tmp_path / "data", recipe.name) == 100
    assert not file.parent.exists()
    with pytest.raises(PullError, match="not installed"):
        models.remove(tmp_path / "data", recipe.name)


def test_without_room_nothing_is_fetched(tmp_path: Path, recipe: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = replace(recipe.parts[0], size_bytes=1 << 60)
    monkeypatch.setattr(catalogue, "KNOWN", (replace(recipe, parts=(huge, *recipe.parts[1:])),))
    with pytest.raises(PullError, match="MiB of disk are needed"):
        models.pull(tmp_path / "data", "pieced")


def test_the_known_model_in_pieces_is_as_long_as_its_file() -> None:
    model = catalogue.find("qwen2.5-coder")
    assert model is not None
    assert (len(model.parts), model.size_bytes) == (22, 1_117_320_768)
    assert len({part.sha256 for part in model.parts}) == 22


@pytest.mark.parametrize(("template", "has_tools"), [("{% if tools %}", True), ("{{ messages }}", False), ("", False)])
def test_a_file_tells_whether_its_template_knows_tools(tmp_path: Path, template: str, *, has_tools: bool) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes(general__architecture="llama", tokenizer__chat_template=template))
    assert gguf.read_header(path).has_tools is has_tools
