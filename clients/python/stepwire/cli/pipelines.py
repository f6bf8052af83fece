"""`stepwire pipelines`: save, list, show and delete the pipelines that the server keeps."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import IO

import click
from rich.table import Table

from stepwire.cli import pipeline_files
from stepwire.cli.frame import Frame, common, pass_frame, printable
from stepwire.cli.messages import local_time


def _reference(_: click.Context, __: click.Parameter, given: str) -> tuple[str, str]:
    """The name and version of NAME[@VERSION]. Half of it, as of a variable that is unset, may mean much more."""
    name, at, version = given.partition("@")
    if at and not version:
        raise click.BadParameter(f"`{given}` has nothing behind the @: name a version, or leave the @ out")
    if not name:
        raise click.BadParameter("has no name")
    return name, version


@click.group()
def pipelines() -> None:
    """Save, list, show and delete pipelines, which any step can name."""


@pipelines.command("list")
@click.argument("name", required=False, default="")
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@common
@pass_frame
def list_(frame: Frame, name: str, limit: int) -> None:
    """List the highest version of each pipeline; with a NAME, all versions of that one."""
    table = Table("pipeline", "version", "saved", "what it does", box=None, header_style="dim")
    with (
        frame.client() as client,
        closing(client.pipelines.list(name=name, page_size=min(limit, 1000))) as found,
    ):
        for each in islice(found, limit):
            if frame.is_json:
                frame.emit(each)
                continue
            table.add_row(each.name, each.version, local_time(each.create_time), printable(each.description))
    if not frame.is_json:
        frame.out.print(table)


@pipelines.command()
@click.argument("pipeline", metavar="NAME[@VERSION]", callback=_reference)
@common
@pass_frame
def show(frame: Frame, pipeline: tuple[str, str]) -> None:
    """Print a pipeline as YAML, which `save` reads. Default: the highest version."""
    with frame.client() as client:
        found = client.pipelines.get(*pipeline)
    if frame.is_json:
        frame.emit(found)
    else:
        frame.write(pipeline_files.written(found))


@pipelines.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--name", help="What pipelines call it. Default: the file's `name`.")
@click.option("--version", help="Numbers with dots. Default: the file's `version`, else the next.")
@click.option("--description", help="What it does. Default: the file's `description`.")
@common
@pass_frame
def save(frame: Frame, file: IO[str], name: str | None, version: str | None, description: str | None) -> None:
    r"""Save the steps in FILE, YAML or JSON or - for a pipe, and print its name and version.

    The file holds a list of steps, or an object with `steps` and, if you like, `name`, `version`, `description`,
    `input_schema` and `labels`. Saving the same again changes nothing.

    \b
    echo '[trim, upper]' | stepwire pipelines save - --name shout
    """
    read = pipeline_files.read_file(frame, file)
    with frame.client() as client:
        saved = client.pipelines.save(
            read.name if name is None else name,
            read.steps,
            version=read.version if version is None else version,
            description=read.description if description is None else description,
            input_schema=read.input_schema,
            labels=read.labels,
        )
    if frame.is_json:
        frame.emit(saved)
    else:
        print(f"{saved.name}@{saved.version}")


@pipelines.command()
@click.argument("pipeline", metavar="NAME[@VERSION]", callback=_reference)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common
@pass_frame
def delete(frame: Frame, pipeline: tuple[str, str], yes: bool) -> None:
    """Delete a version of a pipeline; without a VERSION, all of them. Asks first. Runs that have begun go on."""
    name, version = pipeline
    reference = f"{name}@{version}" if version else name
    with frame.client() as client:
        if not yes:
            about = client.pipelines.get(name, version)  # else the question would be for nothing
            what = reference if version else f"all versions of {name}, up to {about.version}"
            if not click.confirm(f"Delete {what}?", err=True):
                raise click.ClickException("nothing was deleted")
        count = client.pipelines.delete(name, version)
    if frame.is_json:
        frame.emit({"deleted": reference, "versionCount": count})
    else:
        what = reference if version else f"{count} version{'s' if count != 1 else ''} of {name}"
        print(f"deleted {what}")
