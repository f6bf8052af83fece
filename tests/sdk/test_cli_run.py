"""`stepwire run`: pipelines of YAML and JSON on the real server, and the live tree on a terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stepwire import Client, steps
from stepwire.cli import failures
from stepwire.cli.app import cli
from stepwire.cli.stages import Stages
from stepwire.results import run_event
from stepwire.v1 import step_run_pb2
from tests.sdk.commands import Run, on
from tests.sdk.scripted import Server
from tests.sdk.test_cli_terminal import Terminal, terminals

V = step_run_pb2

PIPELINE = """
steps:
  - map:
      step: {named: upper}
  - render: {template: "{{.}}!"}  # louder
input: [a, b]
"""


@pytest.fixture
def run(target: str, tmp_path: Path) -> Run:
    file = tmp_path / "loud.yaml"
    file.write_text(PIPELINE)

    return partial(on(target), "run", str(file))


def test_yaml_is_run_with_its_own_input_or_with_one_that_is_given(run: Run, tmp_path: Path) -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (0, "A!\nB!\n")
    assert "map: 1 in, 2 out" in result.stderr
    assert run("--input", '["c"]').stdout == "C!\n"
    assert run("-i", "-", piped='["d"]').stdout == "D!\n"
    (tmp_path / "input.json").write_text('["e"]')
    assert run("-i", f"@{tmp_path / 'input.json'}").stdout == "E!\n"


def test_quiet_results_are_json_a_line_and_nothing_else(target: str) -> None:
    spec = '[{"javascript": "(x) => ({said: x})"}]'
    arguments = ["--server", target, "run", "-", "-q", "-i", r'"one\ntwo"']
    result = CliRunner().invoke(cli, arguments, input=spec)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [{"said": "one\ntwo"}]


def test_the_status_says_what_failed(run: Run, tmp_path: Path) -> None:
    result = run("-i", '["a", 1]')
    assert (result.exit_code, result.stdout) == (failures.FAILED, "A!\n")
    assert "error at [1]: the step takes a text" in result.stderr
    assert run("-i", "[1", "-q").exit_code == 2
    missing = run("-i", "@nowhere.json")
    assert missing.exit_code == failures.WRONG_REQUEST
    assert "nowhere.json cannot be read" in missing.stderr
    (tmp_path / "loud.yaml").write_text("steps:\n  - mapp: {}\n")
    wrong = run()
    assert (wrong.exit_code, wrong.stdout) == (failures.WRONG_REQUEST, "")
    assert "loud.yaml:2: steps[0].mapp: Step has no such field; did you mean `map`?" in wrong.stderr
    (tmp_path / "loud.yaml").write_text("steps: [nope]\n")
    assert run().exit_code == run("--check").exit_code == failures.WRONG_REQUEST


def test_the_tree_counts_what_goes_through_each_step(target: str) -> None:
    with Client(target) as client:
        flow = steps.compose([steps.map("upper"), steps.choice((steps.javascript("(x) => x > 'A'"), "lower"))])
        stages = Stages([flow.proto])
        lines = [stage.line() for stage in stages._stages.values()]
        assert lines == ["· compose", "· map", "· upper", "· choice", "· javascript", "· lower"]
        for event in client.run_events(flow.proto, ["a", "b", 3]):
            stages.hear(event)
    shapes = [line.split(", ")[:2] for line in (stage.line() for stage in stages._stages.values())]
    assert shapes[1:4] == [["✓ map: 1 in", "2 out"], ["✓ upper: 3 in", "2 out"], ["✓ choice: 2 in", "1 out"]]
    tree = stages.__rich__()
    assert [str(child.label)[:9] for child in tree.children] == ["✓ compose"]
    assert len(tree.children[0].children) == 2
    assert "1 failed" in str(tree.children[0].children[0].children[0].label)


async def half_a_run(_: Any, __: Any) -> AsyncGenerator[V.RunStepResponse]:
    """One input of a step, one result, and then silence."""
    yield V.RunStepResponse(seq=1, started=V.RunStarted(run_id="r1"))
    yield stage(V.STAGE_EVENT_KIND_STARTED)
    yield stage(V.STAGE_EVENT_KIND_RESULT)
    result = V.RunStepResponse(seq=4, path=[0])
    result.value.string_value = "first"
    yield result
    await asyncio.Event().wait()


def stage(kind: V.StageEventKind) -> V.RunStepResponse:
    return V.RunStepResponse(stage=V.StageEvent(step_path="steps[0]", kind=kind, attempt=2))


@pytest.fixture
def start(far_server: Server) -> Generator[Callable[..., Terminal]]:
    far_server.on["RunStep"] = half_a_run
    with terminals(far_server) as opened:
        yield opened


def test_a_terminal_shows_the_stages_below_the_results_until_ctrl_c(
    start: Callable[..., Terminal], tmp_path: Path, far_server: Server
) -> None:
    file = tmp_path / "loud.yaml"
    file.write_text("[upper]")
    terminal = start("run", str(file), "-i", '"a"')
    terminal.wait_for("first")
    terminal.wait_for("▸ upper: 1 in, 1 out")
    assert terminal.interrupted() == 130
    assert "cancelled" in terminal.seen
    assert far_server.script.ended.wait(10)


def test_a_step_that_failed_and_was_tried_again_says_so() -> None:
    stages = Stages([steps.named("upper").options(name="loud").proto])
    for kind in (V.STAGE_EVENT_KIND_STARTED, V.STAGE_EVENT_KIND_ERROR, V.STAGE_EVENT_KIND_RETRYING):
        event = run_event(stage(kind))
        assert event is not None
        stages.hear(event)
    assert [found.line() for found in stages._stages.values()] == ["▸ loud: 1 in, 0 out, 1 failed, 1 tried again"]
