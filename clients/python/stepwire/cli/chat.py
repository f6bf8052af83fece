"""`stepwire chat`: one reply, or a talk."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click

from stepwire import (
    ChatEvent,
    Client,
    Finished,
    Image,
    Message,
    ReasoningDelta,
    Restarted,
    TextDelta,
    ToolAnswered,
    ToolCalled,
    errors,
    image,
)
from stepwire._requests import checked
from stepwire.cli.frame import Frame, Wrong, common, pass_frame

OPTIONS = {
    "temperature": (float, "How freely words are chosen, 0 to 2."),
    "top_p": (float, "Choose among the likeliest words that have this probability together."),
    "max_tokens": (int, "Stop after this many tokens."),
    "seed": (int, "Make the choices repeatable."),
}


def _answering(command: Any) -> Any:
    for name, (kind, text) in reversed(OPTIONS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, type=kind, help=text)(command)
    return click.option("--stop", multiple=True, help="Stop before this text. May be repeated.")(command)


def asking(command: Any) -> Any:
    """Add what a reply may need and has to look like."""
    command = click.option(
        "--tool", multiple=True, metavar="STEP", help="A step of the server that the model may use. May be repeated."
    )(command)
    return click.option(
        "--json-schema", default="", metavar="FILE", help="What the reply has to look like; `json` for any object."
    )(command)


def schema_of(file: str) -> dict[str, Any] | str | None:
    """Read a schema; None if no file is named."""
    if file in {"", "json"}:
        return file or None
    try:
        schema = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError:
        raise Wrong(f"{file} is no JSON") from None
    if not isinstance(schema, dict):
        raise Wrong(f"{file} is no JSON object")
    return schema


@click.command()
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", default="", help="Name or alias of a model. Default: the server's.")
@click.option("--system", default="", help="What the model is told before everything else.")
@click.option("-c", "--conversation", default="", metavar="ID", help="Chat within this stored conversation.")
@click.option("-i", "--image", "images", multiple=True, metavar="PATH|URL", help="Show this picture. May be repeated.")
@_answering
@asking
@click.option("--request-id", default="", metavar="ID", help="Make the call safe to repeat.")
@click.option("-q", "--quiet", is_flag=True, help="Only the reply: no figures after it.")
@common
@pass_frame
def chat(
    frame: Frame,
    /,
    prompt: tuple[str, ...],
    model: str,
    system: str,
    conversation: str,
    images: tuple[str, ...],
    json_schema: str,
    tool: tuple[str, ...],
    request_id: str,
    quiet: bool,
    stop: tuple[str, ...],
    **options: float | None,
) -> None:
    r"""Stream one reply. Without a PROMPT it is read from a pipe, or asked for, again and again, on a terminal.

    \b
    stepwire chat "Say hello."
    git diff | stepwire chat --system "Write a commit message."
    stepwire chat -c c1
    stepwire chat "What is this?" --image cat.png
    stepwire chat "A cat, as JSON." --json-schema cat.json
    stepwire chat "Shout hello." --tool upper
    """
    pictures = [image(source) for source in images]
    chosen = {name: value for name, value in options.items() if value is not None} | ({"stop": stop} if stop else {})
    request: dict[str, Any] = {
        "model": model,
        "system": system,
        "conversation_id": conversation,
        "options": chosen or None,
    }
    request |= {"tools": tool, "response_format": schema_of(json_schema), "request_id": request_id}
    with frame.client() as client:
        if prompt:
            _reply(client, request, [_asked(" ".join(prompt), pictures)], Printer(frame, quiet))
        elif sys.stdin.isatty():
            _talk(frame, client, request, pictures, quiet)
        else:
            _reply(client, request, [_asked(sys.stdin.read(), pictures)], Printer(frame, quiet))


@click.command()
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", default="", help="Name or alias of a model. Default: the server's.")
@click.option("--system", default="", help="What the model is told before everything else.")
@click.option("-c", "--conversation", default="", metavar="ID", help="Count what this stored conversation has, too.")
@asking
@common
@pass_frame
def tokens(
    frame: Frame,
    /,
    prompt: tuple[str, ...],
    model: str,
    system: str,
    conversation: str,
    json_schema: str,
    tool: tuple[str, ...],
) -> None:
    r"""Count the tokens that a model would read, without asking it. Without a PROMPT it is read from a pipe.

    \b
    stepwire tokens "How long is this?"
    stepwire tokens -m gpt-4o < book.txt
    """
    text = " ".join(prompt) if prompt or sys.stdin.isatty() else sys.stdin.read()
    with frame.client() as client:
        count = client.count_tokens(
            text,
            model=model,
            system=system,
            conversation_id=conversation,
            tools=tool,
            response_format=schema_of(json_schema),
        )
    if frame.is_json:
        frame.emit(count.proto)
        return
    frame.write(f"{count.input_tokens}\n")
    facts = [f"counted {'here, about' if count.is_estimated else 'by the provider'}", count.model]
    if count.context_length is not None:
        facts.append(f"context of {count.context_length}")
    frame.note(" · ".join(facts))


def _asked(text: str, pictures: list[Image]) -> Message:
    with checked():
        return Message(role="user", text=text, images=pictures)


def _reply(client: Client, request: dict[str, Any], messages: list[Any], printer: Printer) -> None:
    with closing(client.stream_chat(messages=messages, **request)) as events:
        for event in events:
            printer.show(event)


class Printer:
    """Writes a reply as it comes, then how fast it came."""

    def __init__(self, frame: Frame, quiet: bool) -> None:
        self._frame = frame
        self._quiet = quiet
        self._began = time.monotonic()
        self._first: float | None = None
        self._pieces = 0
        self.text = ""
        self.finished: Finished | None = None

    def show(self, event: ChatEvent) -> None:
        """Write one event."""
        if self._frame.is_json:
            self._emit(event)
        match event:
            case TextDelta():
                self._first = self._first or time.monotonic()
                self._pieces += event.delta_count
                self.text += event.text
                if not self._frame.is_json:
                    self._frame.write(event.text)
            case ReasoningDelta() if not self._frame.is_json and not self._quiet:
                self._frame.err.print(event.reasoning, style="dim italic", end="")
            case Finished():
                self.finished = event
                if not self._frame.is_json:
                    self._end(event)
            case _ if not self._frame.is_json:
                self._tell(event)

    def _emit(self, event: ChatEvent) -> None:
        match event:
            case Finished():
                self._frame.emit({"finished": self._frame.as_dict(event.proto)})
            case ToolAnswered():  # of the server: there are no functions here
                result = {"toolId": event.tool_id, "result": event.result}
                self._frame.emit({"toolResult": result | ({"isError": True} if event.is_error else {})})
            case _:
                self._frame.emit(event.proto)

    def _tell(self, event: ChatEvent) -> None:
        """Say what happens beside the text."""
        match event:
            case Restarted():
                self.text = ""
                self._frame.note(f"\n{event.reason}: the reply begins again", style="yellow")
            case ToolCalled() if not self._quiet:
                self._frame.note(f"{event.name}({json.dumps(event.input, ensure_ascii=False)})")
            case ToolAnswered() if not self._quiet:
                self._frame.note(f"{'failed: ' if event.is_error else ''}{event.result}")

    def _end(self, event: Finished) -> None:
        if not self.text.endswith("\n"):
            self._frame.write("\n")
        if not self._quiet:
            self._frame.note(self._figures(event))

    def _figures(self, event: Finished) -> str:
        tokens = event.usage.output_tokens or self._pieces
        facts = [f"{tokens} token{'' if tokens == 1 else 's'}"]
        if self._first is not None:
            writing_s = time.monotonic() - self._first
            if tokens > 1 and writing_s > 0:
                facts.append(f"{(tokens - 1) / writing_s:.1f} tokens/s")
            facts.append(f"first after {self._first - self._began:.2f} s")
        facts.append(f"{event.model} ({event.provider})")
        if event.reason == "length":
            facts.append("cut off at the token limit")
        elif event.reason == "content_filter":
            facts.append("the rest was withheld by the provider")
        if event.branched:
            facts.append("on a branch of its own: the conversation went on meanwhile")
        return " · ".join(facts)


def _talk(frame: Frame, client: Client, request: dict[str, Any], pictures: list[Image], quiet: bool) -> None:
    """Ask and answer until Ctrl-D. Ctrl-C ends the reply that is being written, and nothing else."""
    _line_editing()
    frame.note("Ctrl-C ends a reply, Ctrl-D the talk.")
    stored = bool(request["conversation_id"])
    history: list[Message] = []
    while True:
        try:
            line = input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            continue
        if not line.strip():
            continue
        asked = _asked(line, pictures)
        printer = Printer(frame, quiet)
        try:
            _reply(client, request, [*history, asked], printer)
        except KeyboardInterrupt:
            frame.note("\ncancelled", style="yellow")
        except errors.Error as error:
            frame.fail(error)
            continue  # as if it had not been asked
        pictures = []  # shown once
        if not stored:  # else the server remembers
            replies = printer.finished.messages if printer.finished else []
            history += [asked, *(replies or _partial(printer.text))]


def _partial(text: str) -> list[Message]:
    return [Message(role="assistant", text=text)] if text else []


def _line_editing() -> None:
    """Arrow keys and the lines of before, where the platform has them."""
    with suppress(ImportError):
        import readline  # noqa: F401  importing it is what does it
