"""The command `stepwired`: serve, check the settings, manage local models."""

from __future__ import annotations

import os

# Before anything imports gRPC: its fork handlers stop threads around each child process that is started.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import asyncio
import gc
import resource
import signal
import sys
from pathlib import Path

import click
import uvloop

from stepwired import app, config, explain
from stepwired.addresses import CannotListen
from stepwired.errors import Failure
from stepwired.local import models as local_models
from stepwired.local.fetch import PullError
from stepwired.observe import logs
from stepwired.observe.progress import Progress
from stepwired.steps.named import BrokenStepError

_CONFIG = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings file. Default: $STEPWIRE_CONFIG, ./stepwire.toml.",
)
_DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), help="Where conversations and models are kept.")


class _Refused(click.ClickException):
    """Cannot be done; the message says what to change. Exit status 1."""

    def show(self, file: object = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"stepwired: {line}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(app.VERSION, prog_name="stepwired")
def main() -> None:
    """Run language-model work as a gRPC service."""
    os.umask(0o077)  # what is stored is for its owner alone
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold keys and conversations


@main.command()
@_CONFIG
@_DATA_DIR
@click.option("--host", help="Address to listen on, a loopback one. Default: 127.0.0.1.")
@click.option("--port", "grpc_port", type=int, help="Port; 0 takes a free one and prints it. Default: 50051.")
@click.option("--http-port", type=int, help="Port of the HTTP front and the page; as --port. Default: 8080.")
def serve(
    file: Path | None, data_dir: Path | None, host: str | None, grpc_port: int | None, http_port: int | None
) -> None:
    """Serve until SIGTERM or ctrl-c; then finish what runs, and end."""
    flags: dict[str, object] = {"data_dir": data_dir, "host": host, "grpc_port": grpc_port, "http_port": http_port}
    settings = _settings(file, flags)
    logs.configure(settings.server.log_level)
    try:
        uvloop.run(_serve(settings))
    except (config.ConfigError, Failure, CannotListen, BrokenStepError) as error:
        raise _Refused(str(error)) from error


async def _serve(settings: config.Settings) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def end() -> None:
        if ended.is_set():  # asked twice: whoever asks does not want to wait
            os._exit(130)
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    async with app.service(settings) as running:
        # What is here now stays: the collector, which stops the loop while it looks, need not look at it again.
        gc.collect()
        gc.freeze()
        _announce(running.address, running.web_address)
        await ended.wait()
        click.echo("stepwired: finishing what runs; a second signal ends at once", err=True)
        await running.server.drain(settings.server.shutdown_grace_s, delay_s=settings.server.drain_delay_s)


def _announce(address: str, web_address: str) -> None:
    cli = f"{Path(sys.executable).parent / 'stepwire'} --server {address}"
    http = f" and HTTP on http://{web_address}/v1" if web_address else ""
    click.echo(f"stepwired {app.VERSION} serves gRPC on {address}{http}; ctrl-c ends it. Try:")
    click.echo(f'  {cli} chat "Say hello."')
    click.echo(f'  {cli} search cat "a kitten sleeps" "the market fell"')
    click.echo(f'  grpcurl -plaintext -d \'{{"prompt":"Say hello."}}\' {address} stepwire.v1.ChatService/StreamChat')
    if web_address:
        click.echo(f"  a browser at http://{web_address}/")
    sys.stdout.flush()


@main.command()
@_CONFIG
@_DATA_DIR
def check(file: Path | None, data_dir: Path | None) -> None:
    """Read the settings as `serve` would, and explain them."""
    settings = _settings(file, {"data_dir": data_dir})
    try:
        for line in asyncio.run(explain.explain(settings)):
            click.echo(line)
    except (config.ConfigError, BrokenStepError) as error:
        raise _Refused(str(error)) from error


@main.group()
def models() -> None:
    """Models that run on this machine."""


@models.command("list")
@_CONFIG
@_DATA_DIR
def list_models(file: Path | None, data_dir: Path | None) -> None:
    """Show the models that are known and those that are installed."""
    there = {model.name: model for model in local_models.installed(_data_dir(file, data_dir))}
    known = {model.name: model for model in local_models.known()}
    for name, model in (known | there).items():
        state = "installed" if name in there else "not installed"
        click.echo(f"{name}  {model.kind.value}  {model.size_bytes / 1e6:.0f} MB  {model.licence}  {state}")
        click.echo(f"    {model.title}: {model.note}")


@models.command()
@_CONFIG
@_DATA_DIR
@click.option("--sha256", help="What the file has to be; needed for a URL.")
@click.option("--name", help="What to call it; for a file or URL.")
@click.argument("sources", nargs=-1, metavar="[NAME|FILE|URL]...")
def pull(
    file: Path | None, data_dir: Path | None, sha256: str | None, name: str | None, sources: tuple[str, ...]
) -> None:
    """Fetch models: known ones by name, or a GGUF file. Without a name: the two that `serve` uses."""
    settings = _settings(file, {"data_dir": data_dir})
    for source in sources or (settings.local.chat, settings.local.embed):
        try:
            with Progress(sys.stderr) as progress:
                model = local_models.pull(
                    settings.server.data_dir, source, sha256=sha256, name=name, report=progress.report
                )
        except (PullError, OSError) as error:
            raise _Refused(str(error)) from error
        click.echo(f"{model.name} is installed in {model.folder}")


@models.command()
@_CONFIG
@_DATA_DIR
@click.argument("names", nargs=-1, required=True)
def rm(file: Path | None, data_dir: Path | None, names: tuple[str, ...]) -> None:
    """Delete installed models."""
    for name in names:
        try:
            freed_bytes = local_models.remove(_data_dir(file, data_dir), name)
        except (PullError, OSError) as error:
            raise _Refused(str(error)) from error
        click.echo(f"{name} is removed, {freed_bytes / 1e6:.0f} MB are free")


def _data_dir(file: Path | None, data_dir: Path | None) -> Path:
    return _settings(file, {"data_dir": data_dir}).server.data_dir


def _settings(file: Path | None, flags: dict[str, object]) -> config.Settings:
    try:
        settings = config.load(os.environ, flags, file=file)
    except config.ConfigError as error:
        raise _Refused(str(error)) from error
    for warning in settings.warnings:
        click.echo(f"stepwired: {warning}", err=True)
    return settings


if __name__ == "__main__":
    main()
