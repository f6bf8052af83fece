"""`stepwire conversations`: make, fill, read and change stored conversations."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from itertools import islice
from typing import Any, Literal

import click
from rich.table import Table

from stepwire.cli.frame import MAX_REVISION, Frame, common, pass_frame, printable
from stepwire.cli.messages import content, counted, local_time, marks

ROLES = ("user", "assistant", "system", "tool")


def _metadata(_: click.Context, __: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        read = json.loads(value)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"is no JSON: {error}") from None
    except RecursionError:
        raise click.BadParameter("is nested too deep") from None
    if not isinstance(read, dict):
        raise click.BadParameter('is no JSON object, such as {"team": "blue"}')
    return read


@click.group()
def conversations() -> None:
    """Make, fill, read and change stored conversations. `stepwire chat -c ID` talks within one."""


@conversations.command()
@click.argument("messages", nargs=-1)
@click.option("--title", default="", help="What people call it.")
@click.option("--id", "conversation_id", default="", help="Its id. Default: a new UUID.")
@click.option(
    "--metadata",
    callback=_metadata,
    metavar="JSON",
    help="Anything to keep with it. Its texts are what `list --label` finds.",
)
@common
@pass_frame
def new(
    frame: Frame, messages: tuple[str, ...], title: str, conversation_id: str, metadata: dict[str, Any] | None
) -> None:
    """Make a conversation, with the user's first MESSAGES if there are any, and print its id."""
    with frame.client() as client:
        stored = client.create_conversation(
            title=title, messages=messages, conversation_id=conversation_id, metadata=metadata
        )
    if frame.is_json:
        frame.emit(stored.conversation)
    else:
        print(stored.id)


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.option(
    "--view",
    type=click.Choice(["head_path", "leftmost", "all"]),
    default="head_path",
    help="Which messages. Default: the path to the head, which is what a model is sent.",
)
@common
@pass_frame
def show(frame: Frame, conversation_id: str, view: Literal["head_path", "leftmost", "all"]) -> None:
    """Print a conversation's facts and its messages."""
    with frame.client() as client:
        conversation = client.conversation(conversation_id)
        if frame.is_json:
            frame.emit({"conversation": frame.as_dict(conversation)})
        else:
            facts = f"{counted(conversation.message_count)}, revision {conversation.revision}"
            frame.note(f"{conversation.title or conversation.id}: {facts}")
        with closing(client.messages(conversation_id, view=view)) as messages:
            for message in messages:
                if frame.is_json:
                    frame.emit({"message": frame.as_dict(message)})
                    continue
                noted = "".join(f" ({mark})" for mark in marks(message))
                frame.out.print(f"{message.role or 'user'}{noted}", style="bold", end=" ")
                frame.out.print(message.id, style="dim")
                if message.reasoning.text:
                    frame.out.print(printable(message.reasoning.text), style="dim italic")
                frame.write(f"{content(message)}\n")


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.argument("text", required=False)
@click.option("--role", type=click.Choice(ROLES), default="user", help="Who speaks. Default: user.")
@click.option("--parent", default="", metavar="ID", help="The message it follows. Default: the head.")
@common
@pass_frame
def append(frame: Frame, conversation_id: str, text: str | None, role: str, parent: str) -> None:
    """Append a message and print its id. Without a TEXT it is read from a pipe."""
    if text is None:
        if sys.stdin.isatty():
            raise click.UsageError("Give a text, or pipe one in.")
        text = sys.stdin.read()
    with frame.client() as client:
        stored = client.append(conversation_id, [{"role": role, "text": text, "parent_id": parent}])
    if frame.is_json:
        frame.emit({"conversation": frame.as_dict(stored.conversation), "messageIds": stored.message_ids})
    else:
        print(*stored.message_ids, sep="\n")


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.option("--message", default="", metavar="ID", help="Only this message.")
@click.option("--style", type=click.Choice(["brackets", "geppetto"]), default="brackets", help="[role]: or (role):")
@click.option("--tools", is_flag=True, help="Also tool uses and their results.")
@common
@pass_frame
def render(
    frame: Frame, conversation_id: str, message: str, style: Literal["brackets", "geppetto"], tools: bool
) -> None:
    """Print a conversation as a single prompt."""
    with frame.client() as client:
        text = client.render(conversation_id, message_id=message, style=style, include_tools=tools)
    if frame.is_json:
        frame.emit({"text": text})
    else:
        frame.write(text if text.endswith("\n") or not text else f"{text}\n")


def _label(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"`{value}` is not KEY=TEXT")
    return dict(value.split("=", 1) for value in values)


@conversations.command("list")
@click.option("--label", "labels", multiple=True, callback=_label, metavar="KEY=TEXT", help="Only with this metadata.")
@click.option("--changed", is_flag=True, help="Those changed last first. Default: those created last.")
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@common
@pass_frame
def list_(frame: Frame, labels: dict[str, str], changed: bool, limit: int) -> None:
    """List conversations, newest first."""
    table = Table("id", "title", "messages", "revision", "changed", box=None, header_style="dim")
    order: Literal["create_time", "update_time"] = "update_time" if changed else "create_time"
    with (
        frame.client() as client,
        closing(client.list_conversations(labels=labels, order=order, page_size=min(limit, 1000))) as found,
    ):
        for each in islice(found, limit):
            if frame.is_json:
                frame.emit(each)
                continue
            count, revision = str(each.message_count), str(each.revision)
            table.add_row(each.id, printable(each.title), count, revision, local_time(each.update_time))
    if not frame.is_json:
        frame.out.print(table)


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.option("--title", help="What people call it.")
@click.option("--head", "head_id", metavar="ID", help="The message that the next one follows.")
@click.option("--metadata", callback=_metadata, metavar="JSON", help="Anything to keep with it, or with the --message.")
@click.option("--merge", is_flag=True, help="Set the keys given and remove those that are null. Default: replace all.")
@click.option("--message", metavar="ID", help='Change this message\'s metadata: {"hidden": true} keeps it from models.')
@click.option(
    "--if-revision", type=click.IntRange(1, MAX_REVISION), help="Fail unless the conversation has this revision."
)
@common
@pass_frame
def update(
    frame: Frame,
    conversation_id: str,
    title: str | None,
    head_id: str | None,
    metadata: dict[str, Any] | None,
    merge: bool,
    message: str | None,
    if_revision: int | None,
) -> None:
    """Change a conversation's title, head or metadata, or the metadata of one of its messages."""
    if title is None and head_id is None and metadata is None:
        raise click.UsageError("Nothing to change: give --title, --head or --metadata.")
    if message is not None and (title is not None or head_id is not None):
        raise click.UsageError("--message goes with --metadata only.")
    with frame.client() as client:
        if message is None:
            about = client.update_conversation(
                conversation_id, title=title, head_id=head_id, metadata=metadata, merge=merge, if_revision=if_revision
            )
            answer, revision = frame.as_dict(about), about.revision
        else:
            updated = client.update_message(
                conversation_id, message, metadata=metadata, merge=merge, if_revision=if_revision
            )
            answer = {"message": frame.as_dict(updated.message), "revision": str(updated.revision)}
            revision = updated.revision
    if frame.is_json:
        frame.emit(answer)
    else:
        frame.note(f"revision {revision}")


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.option("--message", default="", metavar="ID", help="The end of the path to copy. Default: the head.")
@click.option("--id", "new_id", default="", help="Id of the new one. Default: a new UUID.")
@click.option("--title", default="", help="Title of the new one. Default: that of the old one.")
@common
@pass_frame
def fork(frame: Frame, conversation_id: str, message: str, new_id: str, title: str) -> None:
    """Copy the path to a message into a new conversation, and print its id."""
    with frame.client() as client:
        made = client.fork_conversation(conversation_id, message_id=message, new_conversation_id=new_id, title=title)
    if frame.is_json:
        frame.emit(made)
    else:
        print(made.id)


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common
@pass_frame
def delete(frame: Frame, conversation_id: str, yes: bool) -> None:
    """Delete a conversation with its messages. Asks first."""
    with frame.client() as client:
        revision: int | None = None
        if not yes:
            about = client.conversation(conversation_id)
            called = f" “{printable(about.title)}”" if about.title else ""
            if not click.confirm(f"Delete {about.id}{called}, {counted(about.message_count)}?", err=True):
                raise click.ClickException("nothing was deleted")
            revision = about.revision  # what was asked about, and nothing that came since
        client.delete_conversation(conversation_id, if_revision=revision)
    if frame.is_json:
        frame.emit({"deleted": conversation_id})
