"""Saved pipelines from Python and from the command line, against the real server."""

from __future__ import annotations

import asyncio
import json
import re
import textwrap
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from stepwire import AsyncClient, Client, Pipeline, errors
from stepwire._pipelines import AsyncPipelines, Pipelines
from stepwire.cli.lists import taken
from stepwire.v1.step_run_pb2 import StepInfo
from tests.sdk.commands import Run, on
from tests.sdk.pages import blocks, run_commands, run_program

CALLS = ["delete", "get", "list", "save"]


@pytest.fixture
def client(real_target: str) -> Generator[Client]:
    with Client(real_target) as made:
        yield made


@pytest.fixture
def run(real_target: str) -> Run:
    return on(real_target)


@pytest.fixture
def name(client: Client, request: pytest.FixtureRequest) -> Generator[str]:
    """A name that no other test saves under; what is saved goes with the test."""
    made = re.sub(r"\W+", "-", request.node.name)[:120]
    yield made
    for pipeline in list(client.pipelines.list()):
        if pipeline.name.startswith(made):
            client.pipelines.delete(pipeline.name)


# --- Python ---


def test_both_clients_have_the_same_calls_and_each_is_explained() -> None:
    for kind in (AsyncPipelines, Pipelines):
        assert sorted(each for each in vars(kind) if not each.startswith("_")) == CALLS
        for call in CALLS:
            doc = getattr(kind, call).__doc__
            assert "client.pipelines." in doc
            assert "Raises:" in doc
            assert ("await" in doc or "async for" in doc) is (kind is AsyncPipelines)


@pytest.mark.parametrize("call", CALLS)
async def test_the_example_of_each_call_runs(real_target: str, call: str) -> None:
    example = re.findall(r"\n\n((?:            .*\n|\n)+)", getattr(AsyncPipelines, call).__doc__)[0]
    body = textwrap.indent(textwrap.dedent(example), "    ")
    async with AsyncClient(real_target) as client:
        names = {"client": client, "print": lambda *_, **__: None}
        exec(f"async def main():\n{body}\n", names)
        await names["main"]()  # type: ignore[operator]
        if [each async for each in client.pipelines.list(name="shout")]:
            await client.pipelines.delete("shout")


def test_a_pipeline_is_saved_run_read_listed_and_deleted(client: Client, name: str) -> None:
    schema = {"type": "string", "maxLength": 9}
    saved = client.pipelines.save(
        name, ["trim", {"named": "upper"}], description="d", input_schema=schema, labels={"a": "1"}
    )
    assert isinstance(saved, Pipeline)
    assert (saved.version, saved.description, dict(saved.labels)) == ("1", "d", {"a": "1"})
    assert client.collect(name, " hi ") == ["HI"]
    with pytest.raises(errors.InvalidRequest) as caught:
        client.collect(name, "0123456789")
    assert caught.value.reason == "STEP_INPUT_INVALID"
    assert client.pipelines.get(name) == client.pipelines.get(name, "1") == saved
    assert client.pipelines.save(name, "lower").version == "2"
    assert client.collect(f"{name}@1", "x") == ["X"]
    assert [each.version for each in client.pipelines.list(name=name, page_size=1)] == ["2", "1"]
    assert [each.version for each in client.pipelines.list() if each.name == name] == ["2"]
    assert client.pipelines.delete(name, "2") == 1
    assert client.pipelines.delete(name) == 1
    with pytest.raises(errors.NotFound):
        client.pipelines.get(name)


def test_a_list_that_is_left_early_asks_for_no_more(client: Client, name: str) -> None:
    for number in range(3):
        client.pipelines.save(f"{name}-{number}", "upper")
    found = client.pipelines.list(page_size=1)
    next(found)
    found.close()


def test_what_is_refused_says_what_to_do(client: Client, name: str) -> None:
    client.pipelines.save(name, "upper", version="1")
    refusals: list[tuple[Callable[[], Any], type[errors.Error], str]] = [
        (lambda: client.pipelines.save(name, "lower", version="1"), errors.Conflict, "PIPELINE_EXISTS"),
        (lambda: client.pipelines.save("upper", "lower"), errors.Conflict, "STEP_EXISTS"),
        (lambda: client.pipelines.save(name, [{"named": name}]), errors.InvalidRequest, "STEP_GRAPH_INVALID"),
        (lambda: client.pipelines.save(name, []), errors.InvalidRequest, "FIELD_REQUIRED"),
        (lambda: client.pipelines.save(name, [{"no": 1}]), errors.InvalidRequest, "FIELD_INVALID"),
        (lambda: client.pipelines.save(name, "upper", input_schema={"a": {1}}), errors.InvalidRequest, "FIELD_INVALID"),
        (lambda: client.pipelines.delete(name, "2"), errors.NotFound, "PIPELINE_NOT_FOUND"),
        (lambda: list(client.pipelines.list(page_size=-1)), errors.InvalidRequest, "FIELD_INVALID"),
    ]
    for act, kind, reason in refusals:
        with pytest.raises(kind) as caught:
            act()
        assert caught.value.reason == reason
    assert [each.version for each in client.pipelines.list(name=name)] == ["1"]


async def test_saves_at_once_without_a_version_get_versions_of_their_own(real_target: str, name: str) -> None:
    async with AsyncClient(real_target) as client:
        saved = await asyncio.gather(
            *(client.pipelines.save(name, "upper", description=str(number)) for number in range(20))
        )
    assert {each.version for each in saved} == {str(number) for number in range(1, 21)}


# --- the command line ---


FILE = """\
description: A text, louder.
input_schema: {type: string}
steps:
  - trim
  - named: upper
"""


def test_what_a_file_says_is_saved_shown_and_saved_again_as_it_was(run: Run, name: str, tmp_path: Path) -> None:
    file = tmp_path / "shout.yaml"
    file.write_text(FILE)
    for _ in range(2):
        assert run("pipelines", "save", str(file), "--name", name).stdout == f"{name}@1\n"
    shown = run("pipelines", "show", name).stdout
    assert shown.startswith(f"name: {name}\nversion: '1'\n")
    assert run("pipelines", "save", "-", piped=shown).stdout == f"{name}@1\n"
    assert run("pipelines", "save", "-", "--version", "1.10", "--description", "b", piped=shown).exit_code == 0
    rows = [row.split() for row in run("pipelines", "list", name).stdout.splitlines()]
    assert [row[:2] for row in rows] == [["pipeline", "version"], [name, "1.10"], [name, "1"]]
    told = json.loads(run("pipelines", "show", f"{name}@1", "--json").stdout)
    assert (told["version"], told["description"], len(told["steps"])) == ("1", "A text, louder.", 2)
    listed = [json.loads(line) for line in run("pipelines", "list", "--json").stdout.splitlines()]
    assert [each["version"] for each in listed if each["name"] == name] == ["1.10"]


def test_steps_are_listed_with_version_provider_and_what_they_take(run: Run, client: Client, name: str) -> None:
    schema = {"properties": {"city": {}, "days": {}}, "required": ["city"]}
    client.pipelines.save(name, "length", description="d", input_schema=schema)
    shown = run("steps")
    assert (shown.exit_code, shown.stderr) == (0, "")
    rows = [row.strip() for row in shown.stdout.splitlines()]
    [row] = [row for row in rows if row.startswith(name)]
    assert re.split(r"\s{2,}", row) == [name, "1", "pipeline", "{city, days?}", "d"]
    assert any(re.match(r"upper +1 +builtin ", row) for row in rows)
    told = [json.loads(line) for line in run("steps", "--json").stdout.splitlines()]
    assert [each["inputSchema"] for each in told if each["name"] == name] == [schema]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (None, ""),
        ({}, ""),
        ({"type": "string"}, "string"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "object", "properties": {}}, "object"),
        ({"properties": {"b": {}, "a": {}}, "required": ["a"]}, "{a, b?}"),
        ({"properties": {"\x1b[2J": {}}, "required": 7}, "{[2J?}"),
    ],
)
def test_a_schema_is_said_in_short(schema: dict[str, Any] | None, said: str) -> None:
    info = StepInfo()
    if schema is not None:
        info.input_schema.update(schema)
        info.input_schema.SetInParent()
    assert taken(info) == said


def test_a_deletion_asks_and_says_what_is_gone(run: Run, name: str) -> None:
    for version in ("1", "2", "3"):
        run("pipelines", "save", "-", "--name", name, "--version", version, piped="[upper]")
    refused = run("pipelines", "delete", name, piped="n\n")
    assert (refused.exit_code, "all versions" in refused.stderr, "up to 3" in refused.stderr) == (1, True, True)
    assert run("pipelines", "delete", f"{name}@2", piped="y\n").exit_code == 0
    told = json.loads(run("pipelines", "delete", name, "--yes", "--json").stdout)
    assert told == {"deleted": name, "versionCount": 2}
    gone = run("pipelines", "delete", name)
    assert gone.exit_code == 2
    assert "stepwire pipelines list" in gone.stderr
    for version in ("1", "2"):
        run("pipelines", "save", "-", "--name", name, "--version", version, piped="[upper]")
    assert run("pipelines", "delete", f"{name}@1", "--yes").stdout == f"deleted {name}@1\n"
    assert run("pipelines", "delete", name, "--yes").stdout == f"deleted 1 version of {name}\n"


@pytest.mark.parametrize("half", ["{}@", "@", "@1"])
def test_half_a_reference_deletes_and_shows_nothing(run: Run, name: str, half: str) -> None:
    """A shell makes `name@$V` of a variable that is unset, and all versions are not what was meant."""
    run("pipelines", "save", "-", "--name", name, piped="[upper]")
    for command in (("delete", "--yes"), ("show",)):
        wrong = run("pipelines", *command, half.format(name))
        assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert run("pipelines", "show", name).exit_code == 0


def test_a_fault_in_a_file_is_told_with_its_line_and_the_servers_with_its_field(
    run: Run, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("steps:\n  - trim\n  - mapp: {}\n")
    wrong = run("pipelines", "save", str(file))
    assert wrong.exit_code == 2
    assert f"{file}:3: steps[1].mapp: Step has no such field; did you mean `map`?" in wrong.stderr
    told = json.loads(run("pipelines", "save", str(file), "--json").stdout)
    assert told["error"]["message"].startswith(f"{file}:3: ")
    refused = run("pipelines", "save", "-", "--name", name, piped="[trim, nosuch]")
    assert refused.exit_code == 2
    assert "pipeline.steps[1].named: no step is called `nosuch`" in refused.stderr
    nameless = run("pipelines", "save", "-", piped="[trim]")
    assert (nameless.exit_code, "pipeline.name" in nameless.stderr) == (2, True)


# --- the page ---


def test_the_commands_of_the_page_run(real_target: str, tmp_path: Path) -> None:
    said = run_commands(blocks("pipelines.md", "sh")[0], real_target, tmp_path)
    assert said.startswith('shout@1\n"ONE!"\n"TWO!"\n')


def test_the_program_of_the_page_runs(real_target: str, tmp_path: Path) -> None:
    [program] = blocks("pipelines.md", "python")
    assert run_program(program, real_target, tmp_path).splitlines()[0] == "['HI']"
