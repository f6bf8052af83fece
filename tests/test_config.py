"""Settings: who wins, what is refused, and that every fault is said at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from stepwired import config
from stepwired.limits import Limits


def write(folder: Path, text: str) -> Path:
    file = folder / "stepwire.toml"
    file.write_text(text, encoding="utf-8")
    return file


def faults(environ: Mapping[str, str], file: Path | None = None) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        config.load(environ, file=file)
    return [line.removeprefix(f"{file}: ") for line in str(caught.value).splitlines()]


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\ngrpc_port = 1\nshutdown_grace_s = 3\nhost = "127.0.0.2"\n')
    environ = {"STEPWIRE_GRPC_PORT": "2", "STEPWIRE_HOST": "127.0.0.3"}
    server = config.load(environ, {"grpc_port": 3, "host": None}, file=file).server
    assert (server.grpc_port, server.host, server.shutdown_grace_s) == (3, "127.0.0.3", 3.0)


def test_without_anything_the_defaults_hold() -> None:
    settings = config.load({})
    assert settings.server.grpc_port == 50051
    assert settings.limits == Limits()
    assert settings.source is None


def test_the_file_is_found_by_variable_or_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "[server]\ngrpc_port = 7\n")
    assert config.load({"STEPWIRE_CONFIG": str(file)}).server.grpc_port == 7
    monkeypatch.chdir(tmp_path)
    assert config.load({}).server.grpc_port == 7


def test_endpoints_models_and_limits_are_read(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [limits]
        max_calls = 5
        [endpoints.ollama]
        base_url = "http://127.0.0.1:11434/v1"
        idle_s = 5
        [models.llama]
        endpoint = "ollama"
        model = "llama3.2"
        aliases = ["l"]
        default = true
        [models.nomic]
        endpoint = "ollama"
        kind = "embed"
        dimensions = 768
        """,
    )
    settings = config.load({}, file=file)
    assert settings.limits.max_calls == 5
    assert settings.endpoints["ollama"].idle_s == 5.0
    assert settings.models["llama"].aliases == ("l",)
    assert settings.models["nomic"].dimensions == 768


def test_every_fault_is_said_at_once_with_its_place_and_the_nearest_name(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [server]
        grpc_prt = 1
        durability = "no"
        [sever]
        [limits]
        max_calls = 0
        [endpoints.openai]
        base_url = "api.openai.com"
        api_key_env = "A"
        api_key_file = "b"
        [endpoints.empty]
        [models.a]
        endpoint = "nowhere"
        default = true
        [models.b]
        endpoint = "openai"
        default = true
        """,
    )
    said = faults({"STEPWIRE_GRPC_PORT": "77777"}, file)
    assert [fault.partition(":")[0] for fault in said] == [
        "server.grpc_prt",
        "server.durability",
        "STEPWIRE_GRPC_PORT",
        "sever",
        "limits.max_calls",
        "endpoints.openai.base_url",
        "endpoints.openai",
        "endpoints.empty.base_url",
        "models.a.endpoint",
        "models.b.default",
    ]
    assert "did you mean `grpc_port`" in said[0]
    assert "did you mean `server`" in said[3]


@pytest.mark.parametrize("text", ["[server", "server = 1", "endpoints = 1", "[endpoints]\nx = 1", "\x00"])
def test_a_file_that_is_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    assert faults({}, write(tmp_path, text))


def test_a_file_that_was_named_and_is_missing_is_refused(tmp_path: Path) -> None:
    assert faults({"STEPWIRE_CONFIG": str(tmp_path / "none.toml")})


def test_a_port_that_kubernetes_made_up_is_refused_with_the_way_out() -> None:
    [fault] = faults({"STEPWIRE_GRPC_PORT": "tcp://10.0.0.1:50051"})
    assert "enableServiceLinks: false" in fault


def test_a_variable_that_nobody_reads_is_warned_about_with_the_nearest_name() -> None:
    settings = config.load({"STEPWIRE_GRPC_PROT": "1", "STEPWIRE_SERVER": "x", "OTHER": "y"})
    [warning] = settings.warnings
    assert "STEPWIRE_GRPC_PROT" in warning
    assert "did you mean `STEPWIRE_GRPC_PORT`" in warning


def test_images_come_from_nowhere_else_unless_the_file_says_so(tmp_path: Path) -> None:
    assert config.load({}).images == config.Images("off", (), ())
    file = write(tmp_path, f'[images]\nfetch = "public"\nallow_hosts = ["*.example.com"]\nroots = ["{tmp_path}"]\n')
    assert config.load({}, file=file).images == config.Images("public", ("*.example.com",), (tmp_path,))


def test_no_step_is_a_tool_unless_the_file_says_so(tmp_path: Path) -> None:
    assert config.load({}).tools == config.Tools(allow=())
    file = write(tmp_path, '[tools]\nallow = ["weather", "shout"]\n')
    assert config.load({}, file=file).tools.allow == ("weather", "shout")
    [fault] = faults({}, write(tmp_path, '[tools]\nallow = ["weather@2"]\n'))
    assert fault.startswith("tools.allow: 'weather@2' names a version")


def test_functions_are_run_by_two_processes_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert config.load({}).functions == config.Functions(enabled=True, processes=2)
    file = write(tmp_path, "[functions]\nenabled = false\nprocesses = 5\n")
    assert config.load({}, file=file).functions == config.Functions(enabled=False, processes=5)
    [fault] = faults({}, write(tmp_path, "[functions]\nprocesses = 0\n"))
    assert fault.startswith("functions.processes: ")


def test_a_section_for_images_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, '[images]\nfetch = "always"\nroots = ["relative", "/missing"]\nroot = []\n')
    assert len(faults({}, file)) == 2  # what cannot be read comes first
    file = write(tmp_path, '[images]\nallow_hosts = ["a.b"]\nroots = ["relative", "/missing"]\n')
    assert faults({}, file) == [
        'images.allow_hosts: has a meaning only with fetch = "public"',
        "images.roots: relative has to be the absolute path of a folder",
        "images.roots: /missing has to be the absolute path of a folder",
    ]


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("max_calls", "3_000_000_000"),
        ("max_calls", "0"),
        ("stalled_reader_s", "nan"),
        ("run_s", "inf"),
        ("run_s", "-1.0"),
        ("reply_bytes", "4_194_305"),
        ("stream_message_bytes", "3"),
        ("message_text_bytes", "2_000_000"),
        ("step_depth", "46"),
        ("metadata_depth", "33"),
        ("embed_floats", "1_000_000"),
    ],
)
def test_a_limit_that_cannot_hold_is_refused_by_its_name(tmp_path: Path, limit: str, value: str) -> None:
    [fault] = faults({}, write(tmp_path, f"[limits]\n{limit} = {value}\n"))
    assert fault.startswith(f"limits.{limit}: ")


def test_a_smaller_reply_needs_fewer_numbers_in_it(tmp_path: Path) -> None:
    [fault] = faults({}, write(tmp_path, "[limits]\nreply_bytes = 1_000_000\n"))
    assert fault.startswith("limits.embed_floats: ")
    fits = "[limits]\nreply_bytes = 1_000_000\nembed_floats = 184_000\n"
    assert config.load({}, file=write(tmp_path, fits)).limits.embed_floats == 184_000


@pytest.mark.parametrize("field", ["shutdown_grace_s", "drain_delay_s"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_seconds_are_a_number_of_them(field: str, value: str) -> None:
    [fault] = faults({f"STEPWIRE_{field.upper()}": value})
    assert fault.startswith(f"STEPWIRE_{field.upper()}: ")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@example.com/v1",
        "https://hunter2@example.com/v1",
        "https://example.com/v1?key=hunter2",
        "https://example.com/v1#hunter2",
        "https://example.com:hunter2/v1",
        "https://[hunter2/v1",
        "https:///hunter2",
        "ftp://hunter2",
    ],
)
def test_an_address_that_may_hold_a_key_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    [fault] = faults({}, write(tmp_path, f'[endpoints.a]\nbase_url = "{url}"\n'))
    assert fault.startswith("endpoints.a.base_url: ")
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("flags", "environ", "text", "place"),
    [
        ({"host": "0.0.0.0"}, {"STEPWIRE_HOST": "::1"}, "", "--host: "),
        ({}, {"STEPWIRE_HOST": "0.0.0.0"}, "", "STEPWIRE_HOST: "),
        ({}, {}, '[server]\nhost = "0.0.0.0"\n', "{file}: server.host: "),
        ({"grpc_port": 99999}, {"STEPWIRE_GRPC_PORT": "1"}, "", "--port: "),
        ({"data_dir": 3}, {}, "", "--data-dir: "),
        ({}, {"STEPWIRE_GRPC_PORT": "x"}, "", "STEPWIRE_GRPC_PORT: "),
    ],
)
def test_a_fault_names_the_place_it_came_from(
    tmp_path: Path, flags: dict[str, object], environ: dict[str, str], text: str, place: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(config.ConfigError) as caught:
        config.load(environ, flags, file=file)
    assert str(caught.value).startswith(place.format(file=file))
    assert "\n" not in str(caught.value)
