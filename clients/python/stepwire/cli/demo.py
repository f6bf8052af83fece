"""`stepwire demo`: a reply, a search, a pipeline and a cancel, all against real models."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import click

from stepwire import Client, RunFinished, StepResult, errors
from stepwire.cli.chat import Printer
from stepwire.cli.frame import Frame, common, pass_frame
from stepwire.cli.run import tree

SENTENCES = (
    "The market fell by two percent.",
    "A kitten sleeps on the sofa.",
    "The train to Bern is late.",
    "My dog chased a squirrel.",
    "Add a pinch of salt to the soup.",
)
PIPELINE: list[dict[str, Any]] = [
    {
        "map": {
            "step": {
                "compose": {
                    "steps": [
                        {"render": {"template": "Write one short sentence about {{.}}."}},
                        {"chat": {"options": {"max_tokens": 24, "temperature": 0}}},
                        {"named": "text"},
                    ]
                }
            }
        }
    },
    {"gather": {}},
    {"spread": {}},
    {"named": "upper"},
]
TOPICS = ["the sea", "bread"]
PIECES_BEFORE_CANCEL = 12
STOP_S = 30.0


@click.command()
@common
@pass_frame
def demo(frame: Frame) -> None:
    """Show chat, search, a pipeline and a cancel. Starts a server, and stops it, if none answers."""
    frame.is_json = False  # this one is for people
    with _server(frame) as target, Client(target) as client:
        _title(frame, "A reply, as it is written")
        _chat(frame, client)
        _title(frame, "Five sentences, ranked by how near they are to “cat”")
        for hit in client.search("cat", SENTENCES):
            frame.write(f"{hit.score:6.3f}  {hit.text}\n")
        _title(frame, f"A pipeline over {TOPICS}: fill a template, ask the model, write it in capitals")
        _run(frame, client)
        _title(frame, "A reply, cancelled in the middle")
        _cancel(frame, client)


def _title(frame: Frame, text: str) -> None:
    frame.out.print(f"\n{text}", style="bold")


def _chat(frame: Frame, client: Client) -> None:
    printer = Printer(frame, quiet=False)
    options = {"max_tokens": 80, "temperature": 0.2}
    with closing(client.stream_chat("What is a kitten? Answer in two sentences.", options=options)) as events:
        for event in events:
            printer.show(event)


def _run(frame: Frame, client: Client) -> None:
    with closing(client.run_events(PIPELINE, TOPICS)) as events:
        for event in events:
            if isinstance(event, StepResult):
                frame.write(f"{list(event.path)}  {event.error or event.text}\n")
            elif isinstance(event, RunFinished):
                frame.err.print(tree(event.metadata))


def _cancel(frame: Frame, client: Client) -> None:
    pieces = 0
    with closing(client.stream_chat("Tell me a very long story about a lighthouse.")) as events:
        for event in events:
            frame.write(event.text)
            pieces += bool(event.text)
            if pieces == PIECES_BEFORE_CANCEL:
                break
        left = time.monotonic()
    frame.note(f"\ncancelled after {pieces} pieces; the call had ended {(time.monotonic() - left) * 1000:.1f} ms later")


@contextmanager
def _server(frame: Frame) -> Generator[str]:
    """Find the server, or run one of our own as long as this lasts."""
    try:
        with frame.client() as client:
            client.models()
    except errors.Unavailable as error:
        if error.reason or not frame.is_default_target:
            raise
    else:
        yield frame.target
        return
    frame.note("no server answers: starting one for this demo")
    with _started(frame) as target:
        yield target


@contextmanager
def _started(frame: Frame) -> Generator[str]:
    program = Path(sys.executable).with_name("stepwired")
    if not program.exists():
        raise click.ClickException(f"{program} is missing: install the server, then run this again")
    # In a session of its own: a Ctrl-C is ours, and the server is told to end when we are done.
    server = subprocess.Popen(
        [program, "serve", "--port", "0", "--http-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    # What it says later must be read too, or it would wait for us some day.
    rest = threading.Thread(target=server.stdout.read, daemon=True)
    try:
        target = _address(frame, server, server.stdout)
        rest.start()
        yield target
    finally:
        server.terminate()
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if rest.ident is not None:
            rest.join()
        server.stdout.close()


def _address(frame: Frame, server: subprocess.Popen[str], output: IO[str]) -> str:
    """Read what the server says until it says where it is. It may fetch its models first."""
    for line in output:
        if found := re.search(r"serves gRPC on (\S+?:\d+)", line):
            return found[1]
        frame.note(line.rstrip("\n"))
    raise click.ClickException(f"the server ended with status {server.wait()} before it could serve")
