"""`stepwire conversations watch` and `search`: what happens, and where something was said."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import click
from rich.text import Text

from stepwire import ConversationChange, MessageHit
from stepwire.cli.frame import MAX_REVISION, Frame, common, pass_frame, printable
from stepwire.cli.messages import content, local_time, marks


@click.command()
@click.argument("conversation_id", metavar="ID")
@click.option(
    "--after", type=click.IntRange(0, MAX_REVISION), metavar="REVISION", help="The changes after this one; 0 for all."
)
@common
@pass_frame
def watch(frame: Frame, conversation_id: str, after: int | None) -> None:
    """Show the changes of a conversation as they come, from now on, until Ctrl-C or its deletion.

    A connection that is cut is made again; no change is missed or shown twice.
    """
    with (
        frame.client() as client,
        closing(client.watch_conversation(conversation_id, after_revision=after)) as changes,
    ):
        if not frame.is_json:
            client.conversation(conversation_id)  # or there is nothing to watch
            frame.note("Watching. Ctrl-C ends it.")
        for change in changes:
            if frame.is_json:
                frame.emit(change.proto)
            else:
                frame.out.print(f"{change.revision:>4}", style="dim", end=" ")
                frame.write(f"{_told(change)}\n")


def _told(change: ConversationChange) -> str:
    match change.kind:
        case "message_appended" if change.message:
            noted = "".join(f" ({mark})" for mark in marks(change.message))
            branch = "" if change.moved_head else " on a branch"
            return f"{change.message.role or 'user'}{noted}{branch}: {content(change.message)}"
        case "message_updated" if change.message:
            noted = ", ".join(marks(change.message)) or "whole and shown"
            return f"message {change.message.id} changed: {noted}"
        case "conversation_updated" | "created" if change.conversation:
            about = change.conversation
            done = "made" if change.kind == "created" else "changed"
            return f"conversation {done}: title “{about.title}”, head {about.head_id or 'none yet'}"
        case "deleted":
            return "conversation deleted"
        case _:
            return "a change of a kind that this version does not know"


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("-c", "--conversation", default="", metavar="ID", help="Only in this conversation.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@common
@pass_frame
def search(frame: Frame, query: tuple[str, ...], conversation: str, limit: int) -> None:
    r"""Find messages by their words, best match first.

    \b
    stepwire conversations search kitten
    stepwire conversations search -- '"two words"' 'sleep*' -dog
    """
    with (
        frame.client() as client,
        closing(
            client.search_messages(" ".join(query), conversation_id=conversation, page_size=min(limit, 100))
        ) as hits,
    ):
        found = list(islice(hits, limit))
    for hit in found:
        if frame.is_json:
            frame.emit(hit.proto)
            continue
        where = printable(hit.conversation_title) or hit.conversation_id
        frame.out.print(f"{where} · {hit.role} · {local_time(hit.proto.create_time)}", style="bold", end=" ")
        frame.out.print(f"{hit.conversation_id} {hit.message_id}", style="dim")
        frame.out.print(highlighted(hit), soft_wrap=True)
    if not found and not frame.is_json:
        frame.note("nothing found")


def highlighted(hit: MessageHit) -> Text:
    """Write the snippet with the words that were found made plain."""
    line = Text()
    at = 0
    for start, end in hit.highlights:
        line.append(printable(hit.snippet[at:start]))
        line.append(printable(hit.snippet[start:end]), style="bold black on yellow")
        at = end
    return line.append(printable(hit.snippet[at:]))
