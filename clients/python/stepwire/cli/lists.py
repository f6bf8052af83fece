"""`stepwire models` and `stepwire steps`: what the server offers."""

from __future__ import annotations

import click
from rich.table import Table

from stepwire.cli.frame import Frame, common, pass_frame


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
    """List the steps that a pipeline can name."""
    with frame.client() as client:
        found = client.list_steps()
    table = Table("step", "version", "from", "what it does", box=None, header_style="dim")
    for step in found:
        if frame.is_json:
            frame.emit(step)
        table.add_row(step.name, step.version, step.provider, step.description)
    if not frame.is_json:
        frame.out.print(table)
