"""Every client gets what every other gets: the cases of `clients/conformance`, in each language that is built here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clients.conformance.runner import cases, wire
from clients.conformance.runner.languages import LANGUAGES
from tests.conftest import ROOT

BOOK = cases.load()
BUILT = [name for name, language in LANGUAGES.items() if not language.missing()]
LEFT_OUT = {name: language.missing() for name, language in LANGUAGES.items() if name not in BUILT}
KINDS = ("OK", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")


def run(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run the command; its exit status, what it wrote, and what it printed."""
    out = folder / "cells.json"
    command = [sys.executable, "-W", "error", "-m", "clients.conformance", "--json", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert out.exists(), done.stderr
    return done.returncode, json.loads(out.read_text()), done.stdout


@pytest.fixture(scope="module")
def cells(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """What came of each cell that is to be tested, played on one server."""
    asked = [
        item.callspec.params  # type: ignore[attr-defined]
        for item in request.session.items
        if getattr(item, "originalname", "") == test_a_language_does_what_the_case_says.__name__
    ]
    languages = dict.fromkeys(params["language"] for params in asked)
    names = dict.fromkeys(params["case"] for params in asked)
    chosen = ("--languages", ",".join(languages), "--cases", ",".join(names))
    _, came, _ = run(tmp_path_factory.mktemp("conformance"), *chosen)
    return {(cell["language"], cell["case"]): cell for cell in came["cells"]}


@pytest.mark.parametrize("case", BOOK.cases)
@pytest.mark.parametrize("language", BUILT)
def test_a_language_does_what_the_case_says(
    language: str, case: str, cells: dict[tuple[str, str], dict[str, Any]]
) -> None:
    cell = cells[language, case]
    assert cell["outcome"] in {"passed", "excused"}, f"{BOOK.cases[case].says}\n{cell['why']}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_client_is_built_and_tested(language: str) -> None:
    if language in LEFT_OUT:
        pytest.skip(LEFT_OUT[language])


def test_every_method_is_called_by_a_case() -> None:
    called = {wire.path(name) for case in BOOK.cases.values() for name in case.methods()}
    for method in wire.methods():
        name = f"{method.containing_service.full_name}/{method.name}"
        assert name in called or name == "grpc.health.v1.Health/List"  # of which not all libraries know


def test_every_proto_is_known_to_the_cases() -> None:
    named = {method.containing_service.file.name for method in wire.methods()}
    for proto in sorted((ROOT / "proto" / "stepwire" / "v1").glob("*.proto")):
        if "\nservice " in proto.read_text("utf-8"):
            assert f"stepwire/v1/{proto.name}" in named


def test_there_are_cases_of_every_kind() -> None:
    assert len(BOOK.cases) >= 60
    text = "".join(path.read_text("utf-8") for path in cases.FOLDER.glob("*.yaml"))
    for kind in (*KINDS, "BadRequest", "RetryInfo", "ResourceInfo", "QuotaFailure", "PreconditionFailure"):
        assert kind in text


def test_every_excuse_says_why() -> None:
    for excuse in BOOK.excuses:
        assert excuse.language in LANGUAGES
        assert len(excuse.reason) > 20


LIES = {
    "loses": "messages",
    "recodes": "expected 'OK', got 'UNKNOWN'",
    "mistells": "typed.text",
    "mumbles": "no StreamChatResponse",
    "forgets": "x-request-id",
    "dies": "I cannot work like this",
    "chatters": "a line that PROTOCOL.md does not know",
}


def test_drivers_that_do_it_wrong_are_found_out(tmp_path: Path) -> None:
    drivers = [f"--driver={lie}={sys.executable} -m tests.clients.liar {lie}" for lie in LIES]
    status, came, printed = run(tmp_path, "--languages", "", "--cases", "chat-stream", *drivers)
    assert status == 1
    for (lie, told), cell in zip(LIES.items(), came["cells"], strict=True):
        assert (cell["language"], cell["outcome"]) == (lie, "failed")
        assert told in cell["why"]
        assert told in printed
