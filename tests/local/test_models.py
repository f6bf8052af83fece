"""Models by name and by file: what is installed whole, what is refused, what is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwired.local import catalogue, models
from stepwired.local.catalogue import Kind
from stepwired.local.fetch import Progress, PullError
from tests.local.conftest import TinyGguf, left_in, sha256
from tests.program import MODELS


def test_the_known_models_are_installed_whole_and_nothing_else_is_kept(data_dir: Path) -> None:
    for name in MODELS:
        recipe, model = catalogue.find(name), models.find(data_dir, name)
        assert recipe is not None
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
