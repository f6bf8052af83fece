"""What every command has in common: the server's address, `--json`, and an end that says what to do."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

from stepwire import Client, errors
from stepwire._aio import DEFAULT_TARGET
from stepwire.cli import failures

F = TypeVar("F", bound=Callable[..., Any])

PIPE_WIDTH = 10_000

MAX_REVISION = 2**63 - 1
"""The largest that the wire carries."""

INTERRUPTED = 130
"""128 and the number of SIGINT, as shells say it."""


class Frame:
    """The settings of one run of the command, and the ways to talk to its terminal."""

    def __init__(self) -> None:
        self.target = DEFAULT_TARGET
        self.is_default_target = True
        self.is_json = False
        # No markup: what is shown came from models, stores and people.
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False)
        # A pipe has no width: what reads it gets whole lines.
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        self.out = Console(highlight=False, markup=False, emoji=False, width=width)

    def client(self) -> Client:
        """Make a client of the server. Use it in a `with`."""
        return Client(self.target)

    def emit(self, value: Message | Mapping[str, Any]) -> None:
        """Write one JSON object on a line of its own, for machines."""
        content = self.as_dict(value) if isinstance(value, Message) else value
        print(json.dumps(content, ensure_ascii=False, separators=(",", ":")), flush=True)

    @staticmethod
    def as_dict(message: Message) -> dict[str, Any]:
        """Say a message of the wire as JSON, in the spelling that every gRPC tool uses."""
        return MessageToDict(message)

    def write(self, text: str) -> None:
        """Write text that came from a model or a store. A terminal is spared its control characters."""
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()

    def note(self, text: str, style: str = "dim") -> None:
        """Write a line to people, beside the output."""
        self.err.print(printable(text), style=style, soft_wrap=True)

    def fail(self, error: errors.Error) -> None:
        """Say what went wrong and what to do: as JSON on the output, or to people."""
        if self.is_json:
            self.emit({"error": failures.as_json(error)})
            return
        self.err.print(f"error: {printable(error.message)}", style="bold red", soft_wrap=True)
        for label, text in failures.explain(error, self.target):
            self.err.print(f"  {label:<8} {printable(text)}", soft_wrap=True)

    def failure(self, text: str, status: int) -> click.ClickException:
        """Make the end of the command for what failed on this side; machines are told at once."""
        if self.is_json:
            with suppress(OSError):  # the output itself may be what fails
                self.emit({"error": {"code": "FAILED", "message": text}})
        return Wrong(text) if status == failures.WRONG_REQUEST else click.ClickException(text)


class Wrong(click.ClickException):
    """An end because of what the command line names."""

    exit_code = failures.WRONG_REQUEST


def printable(text: str) -> str:
    """Drop what would command a terminal instead of showing: escape sequences, bells, cursor movements."""
    return "".join(char for char in text if char in "\n\t" or (char >= " " and not "\x7f" <= char <= "\x9f"))


pass_frame = click.make_pass_decorator(Frame, ensure=True)


def common(command: F, *, envvar: str | None = None) -> F:
    """Add `--server` and `--json`. They may stand before the command's name, or after it, which counts more.

    Args:
        command: A function that becomes a command.
        envvar: Variable that holds a default for `--server`. Only for the outermost, or it would beat its flag.
    """

    def set_target(context: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            if not value.strip():
                raise click.BadParameter("is empty")
            if not value.isprintable():  # bytes that are not UTF-8, too
                raise click.BadParameter("is no address")
            frame = context.ensure_object(Frame)
            frame.target, frame.is_default_target = value, False

    def set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.ensure_object(Frame).is_json = True

    command = click.option(
        "--json", is_flag=True, expose_value=False, callback=set_json, help="One JSON object a line, for machines."
    )(command)
    return click.option(
        "-s",
        "--server",
        metavar="HOST:PORT",
        envvar=envvar,
        expose_value=False,
        callback=set_target,
        help=f"Where the server is. Default: $STEPWIRE_SERVER, {DEFAULT_TARGET}.",
    )(command)


class Cli(click.Group):
    """Ends with what to do instead of a traceback, and with a status that scripts can read."""

    def invoke(self, ctx: click.Context) -> Any:
        frame = ctx.ensure_object(Frame)
        try:
            return super().invoke(ctx)
        except errors.Error as error:
            frame.fail(error)
            ctx.exit(failures.exit_status(error))
        except UnicodeError:
            raise frame.failure("the input is not UTF-8", failures.WRONG_REQUEST) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has heard enough
                raise
            raise frame.failure(str(error), failures.of_file(error)) from None
        except (KeyboardInterrupt, click.Abort) as ended:  # the latter at a question
            if isinstance(ended.__context__, EOFError):
                raise frame.failure("nobody answers", failures.FAILED) from None
            if frame.is_json:
                frame.emit({"error": {"code": "CANCELLED", "message": "cancelled"}})
            else:
                frame.note("\ncancelled", style="yellow")
            ctx.exit(INTERRUPTED)
