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
from clients.conformance.runner.table import table
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
        assert len(excuse.seen) > 20


LIES = {
    "loses": "messages",
    "recodes": "expected 'OK', got 'UNKNOWN'",
    "mistells": "typed.text",
    "mumbles": "no StreamChatResponse",
    "forgets": "x-request-id",
    "untyped": "typed.text",
    "claims": "cancelled: expected False, got True",
    "backdates": "ended_ms",
    "unnumbered": "an answer that PROTOCOL.md does not know",
    "dies": "I cannot work like this",
    "chatters": "a line that PROTOCOL.md does not know",
}


def lying(lie: str, name: str = "") -> str:
    return f"--driver={name or lie}={sys.executable} -m tests.clients.liar {lie}"


def test_drivers_that_do_it_wrong_are_found_out(tmp_path: Path) -> None:
    status, came, printed = run(tmp_path, "--languages", "", "--cases", "chat-stream", *map(lying, LIES))
    assert status == 1
    for (lie, told), cell in zip(LIES.items(), came["cells"], strict=True):
        assert (cell["language"], cell["outcome"]) == (lie, "failed")
        assert told in cell["why"]
        assert told in printed


def test_a_driver_that_does_not_read_the_reason_is_found_out(tmp_path: Path) -> None:
    status, came, _ = run(tmp_path, "--languages", "", "--cases", "chat-empty-request", lying("untyped"))
    assert status == 1
    assert "typed.reason" in came["cells"][0]["why"]


@pytest.mark.parametrize(
    ("lie", "outcome", "told"),
    [
        ("drops", "excused", "prost, tonic's protobuf, drops"),
        ("recodes", "failed", "got 'UNKNOWN'"),
        ("dies", "failed", "I cannot work like this"),
        ("nothing", "failed", "passes, and needs no excuse"),
    ],
)
def test_an_excuse_is_for_what_it_names_alone(lie: str, outcome: str, told: str, tmp_path: Path) -> None:
    status, came, printed = run(
        tmp_path, "--languages", "", "--cases", "wire-unknown-fields-kept", lying(lie, name="rust")
    )
    [cell] = came["cells"]
    assert cell["outcome"] == outcome
    assert told in cell["why"]
    assert told in printed
    assert status == (outcome == "failed")


async def test_a_case_that_cannot_be_played_fails_its_cell_alone(tmp_path: Path) -> None:
    wrong = cases.Case(
        "wrong", "It names what nobody saved.", [{"call": "ChatService/Chat", "request": {"prompt": "${no}"}}]
    )
    right = BOOK.cases["chat-stream"]
    book = cases.Book({"wrong": wrong, right.name: right})
    came = await table({"python": LANGUAGES["python"]}, [wrong, right], book, tmp_path, lambda _: None)
    assert [cell.outcome for cell in came] == ["failed", "passed"]
    assert "KeyError" in came[0].why
