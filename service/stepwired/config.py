"""Settings: flag, then environment, then `stepwire.toml`, then the default. Read once, checked whole, never changed."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from stepwired import addresses, limits
from stepwired.limits import Limits
from stepwired.providers.catalogue.endpoints import KINDS, Kind
from stepwired.settings import Cache, Endpoint, Functions, Images, Local, Model, Price, Server, Settings, Tools, Web

__all__ = [
    "DIMENSIONS",
    "Cache",
    "ConfigError",
    "Endpoint",
    "Functions",
    "Images",
    "Local",
    "Model",
    "Price",
    "Server",
    "Settings",
    "Tools",
    "Web",
    "load",
]

PREFIX = "STEPWIRE_"
FILE = "stepwire.toml"

#: Variables with our prefix that other programs of this project read.
_OTHERS = frozenset(
    {
        "STEPWIRE_CONFIG",
        "STEPWIRE_LOCAL_VERBOSITY",
        "STEPWIRE_NO_SKIP",
        "STEPWIRE_REFERENCE",
        "STEPWIRE_SERVER",
        "STEPWIRE_TEST_MODELS",
    }
)

#: Length of the vectors of models that everybody knows.
DIMENSIONS = {"text-embedding-3-large": 3072, "text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[a-z0-9._-]+(:[0-9]{1,5})?|[a-z]+://\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")

_TABLES = ("server", "web", "local", "limits", "images", "functions", "tools", "cache", "endpoints", "models")

#: Fields that a variable or a flag may set: of `[web]`, and all of `[server]`.
_WEB = ("http_port",)
_READ_ELSEWHERE = (*(each.name for each in fields(Server)), *_WEB)

T = TypeVar("T")


class ConfigError(Exception):
    """The settings cannot be used. Each line says where and what to change."""

    def __init__(self, faults: Iterable[str]) -> None:
        super().__init__("\n".join(faults))


def load(
    environ: Mapping[str, str], flags: Mapping[str, object] | None = None, *, file: Path | None = None
) -> Settings:
    """Read all settings.

    Args:
        environ: The environment. `STEPWIRE_CONFIG` names the file where `file` does not.
        flags: Values of `[server]` and `[web]` from the command line, by field; None where a flag was not given.
        file: The file; without one and without the variable, `stepwire.toml` in the working folder if it is there.

    Raises:
        ConfigError: With every fault there is.
    """
    source = _source(environ, file)
    tables = _tables(source)
    reader = _Reader()
    over = _overrides(environ, flags or {}, reader)
    of_web = {name: over.pop(name) for name in _WEB if name in over}
    settings = Settings(
        server=reader.taken(Server, tables, "server", over),
        web=reader.taken(Web, tables, "web", of_web),
        local=reader.taken(Local, tables, "local"),
        limits=reader.taken(Limits, tables, "limits"),
        images=reader.taken(Images, tables, "images"),
        functions=reader.taken(Functions, tables, "functions"),
        tools=reader.taken(Tools, tables, "tools"),
        cache=reader.taken(Cache, tables, "cache"),
        endpoints={
            name: _filled(given)
            for name, given in reader.sections(Endpoint, tables.pop("endpoints", {}), "endpoints").items()
        },
        models=reader.sections(Model, tables.pop("models", {}), "models"),
        source=source,
        warnings=tuple(_strangers(environ)),
    )
    for name in tables:
        reader.faults.append(f"{name}: {_unknown(name, _TABLES)}")
    _check(settings, reader.faults)
    if refused := addresses.listening_fault(settings.server.host):
        place, _ = over.get("host", ("server.host", None))
        reader.faults.append(f"{place}: {refused}")
    if reader.faults:
        in_file = f"{source}: " if source else ""
        raise ConfigError(f if f.startswith(("--", PREFIX)) else in_file + f for f in reader.faults)
    return settings


def _source(environ: Mapping[str, str], file: Path | None) -> Path | None:
    """The file to read, if there is one."""
    source = file or (Path(named) if (named := environ.get("STEPWIRE_CONFIG")) else None)
    return Path(FILE) if source is None and Path(FILE).is_file() else source


def _overrides(
    environ: Mapping[str, str], flags: Mapping[str, object], reader: _Reader
) -> dict[str, tuple[str, object]]:
    """What variables say, or flags, which win: by field, each value with the name of its place."""
    said: dict[str, tuple[str, object]] = {}
    for name in _READ_ELSEWHERE:
        variable = PREFIX + name.upper()
        if variable in environ and reader.is_plain(variable, environ[variable]):
            said[name] = (variable, environ[variable])
    for name, value in flags.items():
        if value is not None:
            said[name] = ("--port" if name == "grpc_port" else "--" + name.replace("_", "-"), value)
    return said


def _tables(source: Path | None) -> dict[str, Any]:
    if source is None:
        return {}
    try:
        return tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"{source}: {error}"]) from error


class _Reader:
    """Makes dataclasses of tables and keeps every fault."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def taken(
        self, cls: type[T], tables: dict[str, Any], name: str, over: Mapping[str, tuple[str, object]] | None = None
    ) -> T:
        """Take one table out of all and read it, as `section` does. Defaults where there is none, or a wrong one."""
        return self.section(cls, tables.pop(name, {}), name, over) or cls()

    def sections(self, cls: type[T], table: object, path: str) -> dict[str, T]:
        if not isinstance(table, dict):
            self.faults.append(f"{path}: has to be tables, as in [{path}.NAME]")
            return {}
        read = {name: self.section(cls, inner, f"{path}.{name}") for name, inner in table.items()}
        return {name: section for name, section in read.items() if section is not None}

    def section(
        self, cls: type[T], table: object, path: str, over: Mapping[str, tuple[str, object]] | None = None
    ) -> T | None:
        """Read one table. `over` has values that win over it, each with its place; as strings from the environment."""
        if not isinstance(table, dict):
            self.faults.append(f"{path}: has to be a table, as in [{path}]")
            return None
        before = len(self.faults)
        hints = get_type_hints(cls, include_extras=True)
        for name in table.keys() - hints.keys():
            self.faults.append(f"{path}.{name}: {_unknown(name, hints)}")
        values = {name: self._value(hints[name], table[name], f"{path}.{name}") for name in hints if name in table}
        for name, (place, value) in (over or {}).items():
            values[name] = self._value(hints[name], value, place, strict=False)
        if len(self.faults) > before:
            return None
        try:
            return cls(**values)
        except TypeError:  # a field without default is missing
            needed = [each.name for each in fields(cls) if each.name not in values]  # type: ignore[arg-type]
            self.faults.append(f"{path}.{needed[0]}: is missing")
            return None

    def _value(self, hint: Any, value: object, path: str, *, strict: bool = True) -> Any:
        inner = next((each for each in get_args(hint) if is_dataclass(each)), None)
        if isinstance(inner, type):  # a table within the table
            return self.section(inner, value, path)
        try:
            return msgspec.convert(value, hint, strict=strict, dec_hook=_path)
        except msgspec.ValidationError as error:
            self.faults.append(f"{path}: {error}")
            return None

    def is_plain(self, variable: str, value: str) -> bool:
        """Refuse what Kubernetes puts into the environment of a pod beside a service named `stepwire`."""
        if value.startswith("tcp://"):
            self.faults.append(
                f"{variable}: is {value!r}, which Kubernetes makes of a service's name: "
                "set `enableServiceLinks: false` in the pod's spec"
            )
            return False
        return True


def _path(hint: type, value: object) -> Path:
    if hint is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    raise msgspec.ValidationError("Expected a path")


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"there is no such setting{f'; did you mean `{near[0]}`?' if near else ''}"


def _strangers(environ: Mapping[str, str]) -> Iterable[str]:
    known = {PREFIX + name.upper() for name in _READ_ELSEWHERE} | _OTHERS
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known:
            yield f"{variable}: {_unknown(variable, known)}; it is not used"


def _check(settings: Settings, faults: list[str]) -> None:
    """Find what is wrong between settings that are right each by itself."""
    faults += [f"limits.{fault}" for fault in limits.faults(settings.limits)]
    faults += _web_faults(settings.web)
    if settings.images.allow_hosts and settings.images.fetch == "off":
        faults.append('images.allow_hosts: has a meaning only with fetch = "public"')
    for name in settings.tools.allow:
        if "@" in name:
            faults.append(f"tools.allow: {name!r} names a version: name the step alone")
    for root in settings.images.roots:
        if not root.is_absolute() or not root.is_dir():
            faults.append(f"images.roots: {root} has to be the absolute path of a folder")
    for name, endpoint in settings.endpoints.items():
        faults += [f"endpoints.{name}{fault}" for fault in _endpoint_faults(endpoint)]
    for name, model in settings.models.items():
        if model.kind == "embed" and not (model.dimensions or (model.model or name) in DIMENSIONS):
            faults.append(f"models.{name}.dimensions: is missing: how many numbers a vector of this model has")
        if model.endpoint not in settings.endpoints:
            faults.append(f"models.{name}.endpoint: {model.endpoint!r} is none of the [endpoints.NAME]")
    for kind in ("chat", "embed"):
        defaults = [name for name, model in settings.models.items() if model.kind == kind and model.default]
        if len(defaults) > 1:
            faults.append(f"models.{defaults[1]}.default: {defaults[0]} is the default for {kind} already")


def _web_faults(web: Web) -> Iterable[str]:
    for origin in web.allow_origins:
        if not _ORIGIN.fullmatch(origin):
            yield f"web.allow_origins: {origin!r} is no origin such as http://localhost:3000, and not `null` or `*`"
    for host in web.allowed_hosts:
        if not _HOST.fullmatch(host):
            yield f"web.allowed_hosts: {host!r} is no name of a host; leave out the scheme and the port"


def _filled(given: Endpoint) -> Endpoint:
    """The endpoint with all that its kind says and it does not."""
    kind = KINDS.get(given.kind, Kind())
    has_key = given.api_key_env or given.api_key_file or given.keys == "caller"
    return replace(
        given,
        base_url=given.base_url or kind.base_url,
        wire=given.wire or kind.wire,
        api_key_env=given.api_key_env if has_key else kind.api_key_env,
        api_version=given.api_version or kind.api_version,
    )


def _endpoint_faults(endpoint: Endpoint) -> Iterable[str]:
    if endpoint.kind and endpoint.kind not in KINDS:
        near = difflib.get_close_matches(endpoint.kind, KINDS, 1)
        hint = f"; did you mean `{near[0]}`?" if near else f": there are {', '.join(KINDS)}"
        yield f".kind: there is no kind {endpoint.kind!r}{hint}"
    elif not endpoint.base_url:
        yield ".base_url: is missing" + ("" if endpoint.kind else ", and so is a `kind` that would say it")
    elif wrong := addresses.url_fault(endpoint.base_url):
        yield f".base_url: {wrong}"
    if endpoint.api_version and not KINDS.get(endpoint.kind, Kind()).api_version:
        yield ".api_version: has a meaning only for a kind that has versions, such as azure-openai"
    if endpoint.api_key_env and endpoint.api_key_file:
        yield ": takes its key from `api_key_env` or from `api_key_file`, not from both"
    if endpoint.keys == "caller" and (endpoint.api_key_env or endpoint.api_key_file):
        yield ': with keys = "caller" it has no key of its own: leave out `api_key_env` and `api_key_file`'
