"""`stepwire run`: a pipeline from a file, its results as they come, and how it went."""

from __future__ import annotations

import base64
import json
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import IO, Any

import click
from rich.tree import Tree

from stepwire import Client, Message, RunFinished, RunStarted, StageEvent, Step, StepMetadata, StepResult, _status
from stepwire.cli import failures, pipeline_files
from stepwire.cli.frame import Frame, common, pass_frame
from stepwire.cli.stages import Stages

SHOWN_NUMBERS = 4


@click.command()
@click.argument("pipeline", type=click.File(encoding="utf-8"))
@click.option(
    "-i", "--input", "value", metavar="JSON", help="What to begin with; @FILE reads it from a file, - from a pipe."
)
@click.option("--events", is_flag=True, help="Also show what happens at each step.")
@click.option("--fail-fast", is_flag=True, help="End the run at the first item that fails.")
@click.option("--check", is_flag=True, help="Only say what is wrong with the pipeline; run nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Only results, each as JSON on a line.")
@common
@pass_frame
def run(
    frame: Frame, pipeline: IO[str], value: str | None, events: bool, fail_fast: bool, check: bool, quiet: bool
) -> None:
    r"""Run the steps in PIPELINE, a file of YAML or JSON or - for a pipe, and print each result on a line.

    The file holds a list of steps, or an object with `steps` and, if you like, an `input`. A terminal shows meanwhile
    what each step does. Ctrl-C cancels the run, all steps of it.

    \b
    echo '[{"map":{"step":{"named":"upper"}}}]' | stepwire run - -i '["a","b"]'
    """
    read = pipeline_files.read_file(frame, pipeline)
    start = read.input if value is None else _input(value)
    with frame.client() as client:
        if check:
            _check(frame, client, read.steps)
            return
        failed = 0
        mode: Any = "fail_fast" if fail_fast else "continue"
        stages = Stages(read.steps)
        is_live = frame.err.is_terminal and not (frame.is_json or quiet or events)
        live = stages.live(frame.err, takes_output=sys.stdout.isatty()) if is_live else nullcontext()
        with closing(client.run_events(read.steps, start, on_error=mode)) as shown, live:
            for event in shown:
                stages.hear(event)
                failed += isinstance(event, StepResult) and event.error is not None
                if isinstance(event, StageEvent) and not events:
                    continue
                _show(frame, event, quiet)
    if failed:
        sys.exit(failures.FAILED)


def _input(said: str) -> Any:
    if said == "-":
        return _json(sys.stdin.read(), "--input")
    if said.startswith("@"):
        try:
            text = Path(said[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{said[1:]} cannot be read: {error}", param_hint="--input") from None
        return _json(text, "--input")
    return _json(said, "--input")


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint=what) from None
    except RecursionError:
        raise click.BadParameter("nested too deep", param_hint=what) from None


def _check(frame: Frame, client: Client, steps: list[Step]) -> None:
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
                frame.write(f"{_plain(event) if quiet else _readable(event)}\n")
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


def _plain(result: StepResult) -> str:
    value = result.value
    if isinstance(value, Message):
        value = Frame.as_dict(value)
    elif isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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
