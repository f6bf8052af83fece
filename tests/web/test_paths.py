"""What there is at which path, and the one answer where there is nothing."""

from __future__ import annotations

import gzip
import hashlib

import pytest
from starlette.types import Receive, Scope, Send

from stepwired.web import server as web_server
from stepwired.web.files import File, _file
from stepwired.web.server import Settings
from tests.web.fronting import CHAT, HI, serve


async def test_models_are_listed_under_each_of_their_names() -> None:
    async with serve() as front:
        listed = await front.ask("GET", "/v1/models")
        one = await front.ask("GET", "/v1/models/gpt-4")
        vectors = await front.ask("GET", "/v1/models/count")
        escaped = await front.ask("GET", "/v1/models/%65cho")
        missing = await front.ask("GET", "/v1/models/no/such%20model")
    assert [model["id"] for model in listed.json["data"]] == ["echo", "count", "gpt-4"]
    assert one.json == {
        "id": "gpt-4",
        "object": "model",
        "created": one.json["created"],
        "owned_by": "scripted",
    }
    assert (vectors.json["id"], escaped.json["id"]) == ("count", "echo")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")


async def test_no_name_is_no_model() -> None:
    async with serve() as front:
        reply = await front.ask("GET", "/v1/models/")
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/chat",
        "/v1/chat/completions/",
        "//v1/models",
        "/v1/completions",
        "/V1/models",
        "/v1/%6dodels",
        "/x",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2fprotocol.py",
        "/page/index.html",
        "/v1/models?a=b/../x#",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_elsewhere_there_is_nothing(path: str, method: str) -> None:
    async with serve(settings=Settings()) as front:
        reply = await front.ask(method, path, {} if method in {"POST", "PUT"} else None)
    if path.startswith("/v1/models?"):
        assert reply.status == {"GET": 200, "OPTIONS": 204}.get(method, 405)
        return
    assert (reply.status, reply.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "methods"),
    [(CHAT, "POST, OPTIONS"), ("/v1/models", "GET, HEAD, OPTIONS"), ("/v1/models/x", "GET, HEAD, OPTIONS")],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_a_path_says_which_methods_it_takes(path: str, methods: str, method: str) -> None:
    async with serve() as front:
        reply = await front.ask(method, path)
    if method == "OPTIONS":
        assert (reply.status, reply.headers["allow"]) == (204, methods)
    elif method not in methods:
        assert (reply.status, reply.headers["allow"]) == (405, methods)
        if method != "HEAD":
            assert reply.error["code"] == "method_not_allowed"


async def test_every_answer_has_an_id_and_none_names_its_server() -> None:
    async with serve() as front:
        for method, path in (("GET", "/healthz"), ("GET", "/nothing"), ("HEAD", "/v1/models"), ("OPTIONS", CHAT)):
            reply = await front.ask(method, path)
            assert len(reply.headers["x-request-id"]) == 36
            assert "server" not in reply.headers
        assert (await front.ask("GET", "/healthz")).json == {"status": "ok"}


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, File]:
    script = _file("app.js", b"let a = 1;\n" * 100)
    found = {
        "/": _file("index.html", b"<!doctype html>"),
        "/js/app.js": script,
        "/a.svg": _file("a.svg", b"<svg/>"),
    }
    monkeypatch.setattr(web_server, "page", lambda: found)
    return found


async def test_the_page_is_served_with_what_keeps_strangers_scripts_out(files: dict[str, File]) -> None:
    async with serve(settings=Settings()) as front:
        page, script, picture = [await front.ask("GET", path) for path in ("/", "/js/app.js", "/a.svg")]
        packed = await front.ask("GET", "/js/app.js", headers={"Accept-Encoding": "br, gzip"})
        head = await front.ask("HEAD", "/js/app.js")
    assert page.body == b"<!doctype html>"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert picture.headers["content-type"] == "image/svg+xml"
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == script.body == files["/js/app.js"].plain
    assert head.headers["content-length"] == str(len(script.body))
    for reply in (page, script, picture, packed):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP ; q=0.5", True),
        ("gzip;q=0", False),
        ("br, gzip; q=0.000", False),
        ("br, x-gzip", False),
        ("", False),
    ],
)
async def test_only_who_takes_gzip_gets_it(files: dict[str, File], accepted: str, is_packed: bool) -> None:
    async with serve(settings=Settings()) as front:
        reply = await front.ask("GET", "/js/app.js", headers={"Accept-Encoding": accepted})
    assert ("content-encoding" in reply.headers) == is_packed
    assert len(reply.body) == len(files["/js/app.js"].packed if is_packed else files["/js/app.js"].plain)


async def test_what_a_browser_has_is_not_sent_again(files: dict[str, File]) -> None:
    etag = f'W/"{hashlib.sha256(files["/"].plain).hexdigest()[:32]}"'
    async with serve(settings=Settings()) as front:
        first = await front.ask("GET", "/")
        for known in (etag, f'"other", {etag}', etag.removeprefix("W/")):
            again = await front.ask("GET", "/", headers={"If-None-Match": known})
            assert (again.status, again.body) == (304, b"")
        changed = await front.ask("GET", "/", headers={"If-None-Match": '"other"'})
    assert (first.headers["etag"], changed.status) == (etag, 200)


async def test_without_the_page_its_files_are_not_there(files: dict[str, File]) -> None:
    async with serve(settings=Settings(page=False)) as front:
        assert [(await front.ask("GET", path)).status for path in files] == [404] * len(files)


async def test_what_others_serve_is_asked_behind_the_checks_of_the_front() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    settings = Settings(page=False, allow_origins=["null"])
    async with serve(settings=settings, beside={"/stepwire.v1.": app}) as front:
        reply = await front.ask("POST", "/stepwire.v1.ChatService/Chat", HI, headers={"Origin": "null"})
        other = await front.ask("POST", "/stepwire.v2.ChatService/Chat", HI)
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["access-control-allow-origin"] == "null"
    assert seen == ["/stepwire.v1.ChatService/Chat"]
    assert other.status == 404


async def test_what_is_refused_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "stepwired"):
        async with serve() as front:
            reply = await front.ask("GET", "/v1/nothing")
    [line] = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert line.endswith("method=HTTP code=404 reason=not_found")
    assert reply.headers["x-request-id"] in line
