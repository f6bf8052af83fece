"""The command, away from a terminal: what it sends, what it prints, and the status it ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import grpc
import numpy as np
import pytest
from click.testing import CliRunner

from stepwire import errors
from stepwire.cli import failures
from stepwire.cli.app import cli
from stepwire.cli.frame import printable
from stepwire.v1 import chat_pb2
from tests.sdk.commands import Run, lines
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, finished, started, text


def test_a_reply_goes_to_the_output_and_its_figures_beside_it(run: Run) -> None:
    result = run("chat", "hi", "there")
    assert (result.exit_code, result.stdout) == (0, "you said hi there\n")
    assert "4 tokens" in result.stderr
    assert "first after" in result.stderr
    assert "scripted-1 (scripted)" in result.stderr


def test_quiet_leaves_the_reply_alone(run: Run) -> None:
    result = run("chat", "-q", "hi")
    assert (result.stdout, result.stderr) == ("you said hi\n", "")


def test_a_prompt_may_come_through_a_pipe(run: Run) -> None:
    assert run("chat", "-q", piped="from afar").stdout == "you said from afar\n"


def test_what_is_asked_for_is_sent(run: Run, far_server: Server) -> None:
    options = "-m alpha --system brief -c c1 --temperature 0 --max-tokens 5 --top-p 0.5 --seed 7 --stop x --stop y"
    assert run("chat", "hi", *options.split()).exit_code == 0
    sent = far_server.script.last("StreamChat")
    assert (sent.model, sent.system, sent.conversation_id) == ("alpha", "brief", "c1")
    assert (sent.options.temperature, sent.options.max_tokens, sent.options.top_p, sent.options.seed) == (0, 5, 0.5, 7)
    assert list(sent.options.stop) == ["x", "y"]


def test_no_options_are_no_options(run: Run, far_server: Server) -> None:
    run("chat", "hi")
    assert not far_server.script.last("StreamChat").HasField("options")


def test_json_is_one_event_a_line(run: Run) -> None:
    events = lines(run("--json", "chat", "hi"))
    assert [next(iter(event)) for event in events] == ["started", "textDelta", "textDelta", "finished"]
    assert "".join(event.get("textDelta", {}).get("text", "") for event in events) == "you said hi"


def test_json_may_be_asked_for_after_the_command_too(run: Run) -> None:
    assert run("chat", "hi", "--json").stdout == run("--json", "chat", "hi").stdout


def test_a_reply_that_was_cut_off_says_so(run: Run, far_server: Server) -> None:
    async def cut(request: Any, context: Any) -> Any:
        yield started()
        yield text("once upon")
        last = finished("once upon")
        last.finished.reason = chat_pb2.FINISH_REASON_LENGTH
        yield last

    far_server.on["StreamChat"] = cut
    assert "cut off at the token limit" in run("chat", "hi").stderr


def test_models_and_steps_are_tables_or_json(run: Run) -> None:
    table = run("models").stdout
    assert "alpha *" in table
    assert "gpt-4" in table
    assert [model["for"] for model in lines(run("models", "--json"))] == ["chat", "chat", "embeddings"]
    assert "Writes in capitals." in run("steps").stdout
    assert lines(run("steps", "--json"))[0]["name"] == "upper"


def test_texts_of_arguments_file_and_pipe_become_vectors(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("bb\n\nccc\n")
    assert [row["values"][0] for row in lines(run("embed", "a", "-f", str(file), "--json"))] == [1, 2, 3]
    assert [row["text"] for row in lines(run("embed", "--json", piped="x\nyy\n"))] == ["x", "yy"]


def test_vectors_are_written_as_one_array(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "vectors.npy"
    assert run("embed", "a", "bbb", "-o", str(output)).exit_code == 0
    vectors = np.load(output)
    assert vectors.dtype == np.float32
    assert vectors[:, 0].tolist() == [1, 3]


def test_a_text_that_fails_is_shown_in_its_place_and_in_the_status(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "vectors.npy"
    result = run("embed", "a", "", "-o", str(output))
    assert result.exit_code == failures.FAILED
    assert "INVALID_INPUT_TEXT" in result.stdout
    assert "1 of 2 texts failed; nothing was written" in result.stderr
    assert not output.exists()
    assert lines(run("embed", "a", "", "--json"))[1]["error"]["reason"] == "INVALID_INPUT_TEXT"


def test_hits_are_listed_best_first(run: Run) -> None:
    result = run("search", "a b", "x", "a [b] b", "-k", "1")
    assert "a [b] b" in result.stdout  # no markup
    assert lines(run("search", "a b", "x", "a b", "--json"))[0]["index"] == 1


def test_a_pipeline_is_run_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.json"
    file.write_text('{"steps": [{"map": {"step": {"named": "upper"}}}], "input": ["a", "b"]}')
    result = run("run", str(file))
    assert (result.exit_code, result.stdout) == (0, "A\nB\n")
    assert "map: 1 in, 2 out, 7 ms" in result.stderr
    assert run("run", str(file), "--input", '["c"]').stdout == "C\n"
    assert run("run", str(file), "--input", "-", piped='["d"]').stdout == "D\n"


def test_an_item_that_fails_lets_the_others_go_on_and_shows_in_the_status(run: Run) -> None:
    result = run("run", "-", "-i", '["a", 1, "c"]', piped='[{"map": {"step": {"named": "upper"}}}]')
    assert (result.exit_code, result.stdout) == (failures.FAILED, "A\nC\n")
    assert "error at [1]: wants a text" in result.stderr


def test_events_of_a_run_are_shown_if_asked_for(run: Run) -> None:
    assert "steps[0] started" in run("run", "-", "-i", '"a"', "--events", piped='["upper"]').stderr
    assert "steps[0] started" not in run("run", "-", "-i", '"a"', piped='["upper"]').stderr
    kinds = [
        next(iter(event)) for event in lines(run("run", "-", "-i", '"a"', "--events", "--json", piped='["upper"]'))
    ]
    assert kinds == ["seq", "stage", "path", "finished"]


def test_a_pipeline_is_checked_without_running(run: Run, far_server: Server) -> None:
    assert run("run", "--check", "-", piped='["upper"]').exit_code == 0
    result = run("run", "--check", "-", piped='["upper", {}]')
    assert result.exit_code == failures.WRONG_REQUEST
    assert "steps[1]: is empty" in result.stderr
    assert far_server.script.count("RunStep") == 0


@pytest.mark.parametrize("pipeline", ["no json", '{"stages": []}', "7"])
def test_a_file_that_is_no_pipeline_is_a_wrong_command_line(run: Run, pipeline: str) -> None:
    result = run("run", "-", piped=pipeline)
    assert result.exit_code == 2
    assert "Error: <stdin>:1: neither a list of steps" in result.stderr


def test_a_conversation_is_made_filled_shown_and_rendered(run: Run) -> None:
    name = run("conversations", "new", "hi", "--title", "cats").stdout.strip()
    assert run("conversations", "append", name, "Hello", "--role", "assistant").stdout == "m2\n"
    assert run("conversations", "append", name, piped="And now?").stdout == "m3\n"
    shown = run("conversations", "show", name)
    assert [line for line in shown.stdout.splitlines() if " m" not in line] == ["hi", "Hello", "And now?"]
    assert "3 messages, revision 4" in shown.stderr
    assert run("conversations", "render", name).stdout.startswith("[user]: hi\n[assistant]: Hello\n")
    shown_json = lines(run("conversations", "show", name, "--json"))
    assert [next(iter(line)) for line in shown_json] == ["conversation", "message", "message", "message"]


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        ("INVALID_ARGUMENT", "FIELD_INVALID", 2),
        ("NOT_FOUND", "MODEL_NOT_FOUND", 2),
        ("RESOURCE_EXHAUSTED", "RESPONSE_TOO_LARGE", 1),
        ("UNAVAILABLE", "PROVIDER_OVERLOADED", 3),
        ("FAILED_PRECONDITION", "MODEL_LOAD_FAILED", 4),
        ("INTERNAL", "INTERNAL", 1),
    ],
)
def test_a_failed_call_says_why_what_to_do_and_how_to_find_it(
    run: Run, far_server: Server, code: str, reason: str, status: int
) -> None:
    async def fails(request: Any, context: Any) -> Any:
        await refuse(context, grpc.StatusCode[code], "it failed", reason=reason, request_id="req-7")
        yield

    far_server.on["StreamChat"] = fails
    result = run("chat", "hi")
    assert result.exit_code == status
    assert result.stderr.startswith("error: it failed\n")
    assert reason in result.stderr
    assert "to do" in result.stderr
    assert "req-7" in result.stderr
    assert "Traceback" not in result.stderr
    as_json = run("chat", "hi", "--json")
    assert as_json.exit_code == status
    assert lines(as_json) == [{"error": {"code": code, "reason": reason, "message": "it failed", "requestId": "req-7"}}]


def test_when_to_try_again_and_what_to_change_are_said(run: Run, far_server: Server) -> None:
    async def waits(request: Any, context: Any) -> Any:
        await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, reason="PROVIDER_RATE_LIMITED", retry_after_s=2.5)

    async def faults(request: Any, context: Any) -> Any:
        why = (("page_size", "is above 1000", "FIELD_INVALID"),)
        await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, reason="FIELD_INVALID", violations=why)

    far_server.on["ListModels"], far_server.on["ListSteps"] = waits, faults
    result = run("models")
    assert "Try again in 2.5 s." in result.stderr
    assert result.exit_code == failures.TRY_LATER
    assert "page_size: is above 1000" in run("steps").stderr


def test_no_server_is_one_line_and_how_to_start_one() -> None:
    result = CliRunner().invoke(cli, ["models", "--server", "127.0.0.1:1"])
    assert result.exit_code == failures.TRY_LATER
    assert "no answer from 127.0.0.1:1: Connection refused" in result.stderr
    assert "stepwired serve" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_flag_beats_the_variable_and_the_variable_the_default(far_server: Server) -> None:
    elsewhere = {"STEPWIRE_SERVER": "127.0.0.1:1"}
    here = {"STEPWIRE_SERVER": far_server.target}
    assert CliRunner().invoke(cli, ["steps"], env=here).exit_code == 0
    assert CliRunner().invoke(cli, ["steps"], env=elsewhere).exit_code == failures.TRY_LATER
    assert CliRunner().invoke(cli, ["-s", far_server.target, "steps"], env=elsewhere).exit_code == 0
    assert CliRunner().invoke(cli, ["steps", "-s", far_server.target], env=elsewhere).exit_code == 0


def test_input_that_is_no_text_is_said_in_a_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe\n")
    result = run("embed", "-f", str(file))
    assert (result.exit_code, result.stderr) == (2, "Error: the input is not UTF-8\n")
    assert run("search", "cat", piped="\n\n").exit_code == 2


def test_every_error_has_a_thing_to_do() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if kind is not errors.Error and issubclass(kind, errors.Error):
            assert any(label == "to do" and what for label, what in failures.explain(kind("x", reason="X"), "t"))


def test_what_would_command_a_terminal_is_dropped() -> None:
    assert printable("a\x1b[2Jb\x07\x9b31m\tc\nd é 🙂") == "a[2Jb31m\tc\nd é 🙂"


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found += every_command(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("command", every_command(cli), ids=" ".join)
def test_each_command_explains_itself_and_takes_the_common_options(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*command, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "--server" in result.stdout
