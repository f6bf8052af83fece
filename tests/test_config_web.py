"""`[web]`: what it may say, and who decides on the port."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwired import config, explain


def load(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> config.Settings:
    file = folder / "stepwire.toml"
    file.write_text(text)
    return config.load(environ or {}, flags, file=file)


def test_the_port_is_that_of_the_flag_then_of_the_variable_then_of_the_file(tmp_path: Path) -> None:
    text, environ = "[web]\nhttp_port = 1\n", {"STEPWIRE_HTTP_PORT": "2"}
    assert load(tmp_path, "").web == config.Web()
    assert load(tmp_path, text).web.http_port == 1
    assert load(tmp_path, text, environ).web.http_port == 2
    settings = load(tmp_path, text, environ, http_port=3)
    assert (settings.web.http_port, settings.server.grpc_port, settings.warnings) == (3, 50051, ())


@pytest.mark.parametrize(
    ("text", "environ", "fault"),
    [
        ('allow_origins = ["localhost:3000"]', {}, "web.allow_origins"),
        ('allow_origins = ["http://localhost:3000/"]', {}, "web.allow_origins"),
        ('allowed_hosts = ["http://box"]', {}, "web.allowed_hosts"),
        ('allowed_hosts = ["box:80"]', {}, "web.allowed_hosts"),
        ("http_prt = 1", {}, "web.http_prt"),
        ("http_port = 70000", {}, "web.http_port"),
        ("", {"STEPWIRE_HTTP_PORT": "tcp://10.0.0.1:8080"}, "enableServiceLinks"),
    ],
)
def test_what_cannot_be_is_refused_by_its_place(tmp_path: Path, text: str, environ: dict[str, str], fault: str) -> None:
    with pytest.raises(config.ConfigError, match=fault):
        load(tmp_path, f"[web]\n{text}\n", environ)


def test_origins_and_hosts_are_taken_as_they_are_written(tmp_path: Path) -> None:
    origins = 'allow_origins = ["null", "*", "https://a.b:1", "http://[::1]:3"]'
    web = load(tmp_path, f'[web]\n{origins}\nallowed_hosts = ["box", "[fe80::1]"]\n').web
    assert web.allow_origins == ("null", "*", "https://a.b:1", "http://[::1]:3")
    assert web.allowed_hosts == ("box", "[fe80::1]")


async def test_check_says_where_http_is_served_and_who_may_call(tmp_path: Path) -> None:
    settings = load(tmp_path, '[local]\nenabled = false\n[web]\nallow_origins = ["null"]\nallowed_hosts = ["box"]\n')
    said = "\n".join(await explain.explain(settings, {}))
    assert "127.0.0.1:8080" in said
    assert "null" in said
    assert "box" in said
    off = await explain.explain(load(tmp_path, "[local]\nenabled = false\n[web]\nenabled = false\n"), {})
    assert not any("8080" in line for line in off)
