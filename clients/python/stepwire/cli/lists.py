"""`stepwire models` and `stepwire steps`: what the server offers."""

from __future__ import annotations

import click
from rich.table import Table

from stepwire import StepInfo
from stepwire.cli.frame import Frame, common, pass_frame, printable


@click.command()
@common
@pass_frame
def models(frame: Frame) -> None:
    """List the models for chat and for embeddings. An asterisk marks the one that answers where none is named."""
    with frame.client() as client:
        chat, embedding = client.models(), client.embedding_models()
    table = Table("model", "for", "provider", "there called", "numbers", box=None, header_style="dim")
    table.add_column("also called", overflow="fold")
    for model in chat:
        name = f"{model.name}{' *' if model.is_default else ''}"
        table.add_row(name, "chat", model.provider, model.provider_model, "", ", ".join(model.aliases))
    for vector in embedding:
        name = f"{vector.name}{' *' if vector.is_default else ''}"
        aliases, numbers = ", ".join(vector.aliases), str(vector.dimensions)
        table.add_row(name, "embeddings", vector.provider, vector.provider_model, numbers, aliases)
    if not frame.is_json:
        frame.out.print(table)
        return
    for kind, found in (("chat", chat), ("embeddings", embedding)):
        for each in found:
            frame.emit({"for": kind} | frame.as_dict(each))


@click.command()
@common
@pass_frame
def steps(frame: Frame) -> None:
    """List the steps that a pipeline can name, each version of its own, the highest first.

    An asterisk marks those that a chat model may be given as a tool.
    """
    with frame.client() as client:
        found = client.list_steps()
    table = Table("step", "version", "from", "takes", "what it does", box=None, header_style="dim")
    for step in found:
        if frame.is_json:
            frame.emit(step)
            continue
        name = f"{step.name}{' *' if step.is_tool else ''}"
        table.add_row(name, step.version, step.provider, taken(step), printable(step.description))
    if not frame.is_json:
        frame.out.print(table)


def taken(step: StepInfo) -> str:
    """Say in short what a step takes: `{city, days?}`, or a type; nothing where that is anything."""
    schema = Frame.as_dict(step.input_schema) if step.HasField("input_schema") else {}
    keys, kind = schema.get("properties"), schema.get("type")
    if isinstance(keys, dict) and keys:
        needed = schema.get("required")
        marks = [key if isinstance(needed, list) and key in needed else f"{key}?" for key in sorted(keys)]
        return printable(f"{{{', '.join(marks)}}}")
    return printable(" or ".join(map(str, kind)) if isinstance(kind, list) else str(kind or ""))
