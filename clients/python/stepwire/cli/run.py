"""`stepwire run`: a pipeline from a file, its results as they come, and how it went."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import IO, Any

import click
from rich.tree import Tree

from stepwire import Client, Message, RunFinished, RunStarted, StageEvent, StepMetadata, StepResult, _status
from stepwire.cli import failures
from stepwire.cli.frame import Frame, common, pass_frame

SHOWN_NUMBERS = 4
NOT_GIVEN = object()


@click.command()
@click.argument("pipeline", type=click.File(encoding="utf-8"))
@click.option("-i", "--input", "value", metavar="JSON", help="What to begin with; - reads it from a pipe.")
@click.option("--events", is_flag=True, help="Also show what happens at each step.")
@click.option("--fail-fast", is_flag=True, help="End the run at the first item that fails.")
@click.option("--check", is_flag=True, help="Only say what is wrong with the pipeline; run nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Only results: no figures after them.")
@common
@pass_frame
def run(
    frame: Frame, pipeline: IO[str], value: str | None, events: bool, fail_fast: bool, check: bool, quiet: bool
) -> None:
    r"""Run the steps in PIPELINE, a JSON file or - for a pipe, and print each result on a line.

    The file holds a list of steps, or an object with `steps` and, if you like, an `input`.

    \b
    echo '[{"map":{"step":{"named":"upper"}}}]' | stepwire run - -i '["a","b"]'
    """
    steps, given = _read(pipeline)
    start = _json(sys.stdin.read() if value == "-" else value, "--input") if value is not None else given
    with frame.client() as client:
        if check:
            _check(frame, client, steps)
            return
        failed = 0
        mode: Any = "fail_fast" if fail_fast else "continue"
        shown = client.run_events(steps, start, on_error=mode)
        with closing(shown):
            for event in shown:
                failed += isinstance(event, StepResult) and event.error is not None
                if isinstance(event, StageEvent) and not events:
                    continue
                _show(frame, event, quiet)
    if failed:
        sys.exit(failures.FAILED)


def _read(file: IO[str]) -> tuple[list[Any], Any]:
    content = _json(file.read(), "PIPELINE")
    if isinstance(content, dict) and content.keys() <= {"steps", "input"} and "steps" in content:
        return content["steps"], content.get("input")
    if isinstance(content, list):
        return content, None
    raise click.BadParameter("neither a list of steps nor an object with `steps` and `input`", param_hint="PIPELINE")


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint=what) from None
    except RecursionError:
        raise click.BadParameter("nested too deep", param_hint=what) from None


def _check(frame: Frame, client: Client, steps: list[Any]) -> None:
    faults = client.validate(steps)
    for fault in faults:
        if frame.is_json:
            frame.emit({"field": fault.field, "reason": fault.reason, "description": fault.description})
        else:
            frame.note(f"{fault.field}: {fault.description}", style="red")
    if faults:
        sys.exit(failures.WRONG_REQUEST)
    if not frame.is_json:
        frame.note("nothing is wrong with it", style="green")


def _show(frame: Frame, event: RunStarted | StepResult | StageEvent | RunFinished, quiet: bool) -> None:
    if frame.is_json:
        frame.emit({"finished": frame.as_dict(event.proto)} if isinstance(event, RunFinished) else _whole(event))
        return
    match event:
        case StepResult():
            if event.error is None:
                frame.write(f"{_readable(event)}\n")
            else:
                frame.note(f"error at {list(event.path)}: {event.error}", style="red")
        case StageEvent():
            frame.note(f"{event.step_path} {event.kind} {event.text}".rstrip())
        case RunFinished() if not quiet:
            if event.aborted:
                frame.note("ended early: each further input would have failed the same way", style="yellow")
            frame.err.print(tree(event.metadata))


def _whole(event: RunStarted | StepResult | StageEvent) -> Any:
    """The wire's event; a stage event is only part of one."""
    if not isinstance(event, StageEvent):
        return event.proto
    return {"stage": Frame.as_dict(event.proto)}


def _readable(result: StepResult) -> str:
    value = result.value
    if isinstance(value, str):
        return value
    if isinstance(value, Message):
        return value.text
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if hasattr(value, "tolist"):
        return f"[{' '.join(f'{number:.3f}' for number in value[:SHOWN_NUMBERS])} … {len(value)} numbers]"
    return json.dumps(value, ensure_ascii=False)


def tree(metadata: StepMetadata) -> Tree:
    """Draw how a run went, in the shape of its spec."""
    root = Tree(_line(metadata), style="dim", guide_style="dim")
    for step in metadata.steps:
        root.add(tree(step))
    return root


def _line(metadata: StepMetadata) -> str:
    facts = [f"{metadata.inputs} in, {metadata.outputs} out"]
    if metadata.errors:
        facts.append(f"{metadata.errors} failed")
    facts.append(f"{_status.seconds(metadata.duration) * 1000:.0f} ms")
    if metadata.usage.HasField("output_token_count"):
        facts.append(f"{metadata.usage.output_token_count} tokens")
    if metadata.model:
        facts.append(metadata.model)
    title = metadata.name or metadata.type or "run"
    return f"{title}: {', '.join(facts)}"
