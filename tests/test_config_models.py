"""Settings of endpoints, models and caches, and what they come to."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import fields
from pathlib import Path

import pytest

from stepwired import config
from stepwired.events import EmbedRequest, Price
from stepwired.explain import explain
from stepwired.limits import Limits
from stepwired.local.supervisor import Supervisor
from stepwired.models import catalogue_of
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.catalogue.endpoints import KINDS
from stepwired.providers.net.http import Http
from stepwired.providers.retrying.policy import ELSEWHERE
from tests.fakeprov import Provider, behaviours
from tests.providers.retrying import REQUEST, read
from tests.test_config import faults, write


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


def load(folder: Path, text: str) -> config.Settings:
    return config.load({"STEPWIRE_DATA_DIR": str(folder)}, file=write(folder, text))


def models_of(folder: Path, http: Http, text: str, **environ: str) -> Catalogue:
    return catalogue_of(load(folder, text), Supervisor(folder), http, environ)


@pytest.mark.parametrize("kind", KINDS)
def test_an_endpoint_of_a_known_kind_needs_little_more_than_its_name(tmp_path: Path, kind: str) -> None:
    base_url = 'base_url = "https://acme.openai.azure.com"' if kind == "azure-openai" else ""
    endpoint = load(tmp_path, f'[endpoints.x]\nkind = "{kind}"\n{base_url}\n').endpoints["x"]
    row = KINDS[kind]
    assert (endpoint.wire, endpoint.api_key_env, endpoint.api_version) == (row.wire, row.api_key_env, row.api_version)
    assert endpoint.base_url == row.base_url or kind == "azure-openai"


async def test_an_empty_key_file_is_a_fault_and_not_a_call_without_a_key(tmp_path: Path, http: Http) -> None:
    (tmp_path / "key").write_text(" \n")
    text = f'[endpoints.x]\nkind = "openai"\napi_key_file = "{tmp_path / "key"}"\n'
    with pytest.raises(config.ConfigError, match=r"endpoints\.x\.api_key_file: is empty"):
        models_of(tmp_path, http, text)
    with pytest.raises(config.ConfigError, match="is empty"):
        await explain(load(tmp_path, text), {})


async def test_an_endpoint_says_how_many_texts_it_takes_at_once(tmp_path: Path, http: Http) -> None:
    async with Provider(behaviours.embeddings(3)) as provider:
        endpoint = f'[endpoints.x]\nbase_url = "{provider.base_url}"\nembed_batch = 2\n'
        text = endpoint + '[models.m]\nendpoint = "x"\nkind = "embed"\ndimensions = 3\n'
        made = await models_of(tmp_path, http, text).embed(EmbedRequest(("a", "b", "c"), "m"))
    assert made.dimensions == 3
    assert sorted(len(request.json()["input"]) for request in provider.requests) == [1, 2]
    for wrong in (0, 2049):
        with pytest.raises(config.ConfigError, match="embed_batch"):
            load(tmp_path, endpoint.replace("embed_batch = 2", f"embed_batch = {wrong}"))


SECTIONS = {
    "server": config.Server,
    "endpoints.NAME": config.Endpoint,
    "models.NAME": config.Model,
    "cache": config.Cache,
    "local": config.Local,
    "images": config.Images,
    "functions": config.Functions,
}


def documented() -> dict[str, set[str]]:
    """The keys in the first column of each section's table."""
    found: dict[str, set[str]] = {}
    section = ""
    for line in (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.partition("`[")[2].partition("]`")[0]
        elif section and line.startswith("| `"):
            found.setdefault(section, set()).update(re.findall(r"`(\w+)`", line.split("|")[1]))
    return found


def test_the_tables_of_the_docs_name_every_setting_and_no_other() -> None:
    found = documented()
    assert {name: found[name] for name in SECTIONS} == {
        name: {field.name for field in fields(section)} for name, section in SECTIONS.items()
    }
    assert found["limits"] <= {field.name for field in fields(Limits)}


def test_what_the_settings_say_wins_over_the_kind(tmp_path: Path) -> None:
    text = '[endpoints.x]\nkind = "groq"\nbase_url = "http://proxy/v1"\nwire = "ollama"\napi_key_env = "MINE"\n'
    endpoint = load(tmp_path, text).endpoints["x"]
    assert (endpoint.base_url, endpoint.wire, endpoint.api_key_env) == ("http://proxy/v1", "ollama", "MINE")
    (tmp_path / "key").write_text("k")
    text = f'[endpoints.x]\nkind = "groq"\napi_key_file = "{tmp_path / "key"}"\n'
    assert load(tmp_path, text).endpoints["x"].api_key_env == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "gorq"', ".kind: there is no kind 'gorq'; did you mean `groq`?"),
        ('kind = "zzz"', ".kind: there is no kind 'zzz': there are openai, "),
        ("connect_s = 1", ".base_url: is missing, and so is a `kind` that would say it"),
        ('kind = "azure-openai"', ".base_url: is missing"),
        ('kind = "groq"\napi_version = "1"', ".api_version: has a meaning only for"),
        ('kind = "groq"\nkeys = "caller"\napi_key_env = "A"', ": with keys ="),
        ('kind = "groq"\nkeys = "theirs"', ".keys: "),
        ('kind = "groq"\nkeyz = "caller"', ".keyz: there is no such setting; did you mean `keys`?"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_by_its_place(tmp_path: Path, text: str, said: str) -> None:
    [fault] = faults({}, write(tmp_path, f"[endpoints.x]\n{text}\n"))
    assert fault.startswith(f"endpoints.x{said}")


def test_all_that_is_known_of_a_model_is_read(tmp_path: Path) -> None:
    model = load(
        tmp_path,
        """
        [endpoints.x]
        kind = "groq"
        [models.m]
        endpoint = "x"
        fallbacks = ["n"]
        context_length = 8192
        max_output_tokens = 1024
        abilities = ["tools", "json_schema"]
        price = { input = 2.5, output = 10, cached_input = 1.25 }
        [models.n]
        endpoint = "x"
        """,
    ).models["m"]
    assert (model.fallbacks, model.context_length, model.max_output_tokens) == (("n",), 8192, 1024)
    assert model.abilities == ("tools", "json_schema")
    assert model.price == config.Price(2.5, 10.0, 1.25)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("price = { inputs = 1 }", "models.m.price.inputs"),
        ("price = { input = -1 }", "models.m.price.input"),
        ("price = 3", "models.m.price"),
        ('abilities = ["flying"]', "models.m.abilities"),
        ("context_length = 0", "models.m.context_length"),
        ("fallback = []", "models.m.fallback"),
    ],
)
def test_what_cannot_be_of_a_model_is_refused_by_its_place(tmp_path: Path, text: str, place: str) -> None:
    [fault] = faults({}, write(tmp_path, f'[endpoints.x]\nkind = "groq"\n[models.m]\nendpoint = "x"\n{text}\n'))
    assert fault.startswith(f"{place}: ")


@pytest.mark.parametrize("text", ['chat = "disk"', 'embeddings = "sometimes"', "chat_bytes = 0", "ttl = 1"])
def test_a_cache_that_cannot_be_kept_is_refused(tmp_path: Path, text: str) -> None:
    [fault] = faults({}, write(tmp_path, f"[cache]\n{text}\n"))
    assert fault.startswith("cache.")


async def test_what_everybody_knows_of_a_model_need_not_be_said(tmp_path: Path, http: Http) -> None:
    text = """
        [endpoints.openai]
        kind = "openai"
        [endpoints.other]
        base_url = "http://127.0.0.1:9/v1"
        [models."gpt-4o-2024-11-20"]
        endpoint = "openai"
        [models.mini]
        endpoint = "openai"
        model = "gpt-4o-mini"
        context_length = 5
        price = { input = 1 }
        [models.theirs]
        endpoint = "other"
        model = "gpt-4o"
        """
    models = models_of(tmp_path, http, text)
    info = models.info("gpt-4o-2024-11-20", "chat")
    assert (info.context_length, info.max_output_tokens, info.price) == (128_000, 16_384, Price(2.5, 10.0, 1.25))
    assert "tools" in info.abilities
    mini, theirs = models.info("mini", "chat"), models.info("theirs", "chat")
    assert (mini.context_length, mini.price) == (5, Price(1.0))
    assert (theirs.context_length, theirs.price, theirs.abilities) == (None, None, ())


@pytest.mark.parametrize("bad", ['fallbacks = ["m"]', 'fallbacks = ["nobody"]'])
async def test_fallbacks_that_lead_nowhere_or_back_stop_the_start(tmp_path: Path, http: Http, bad: str) -> None:
    with pytest.raises(config.ConfigError, match=r"model m: "):
        models_of(tmp_path, http, f'[endpoints.x]\nkind = "groq"\n[models.m]\nendpoint = "x"\n{bad}\n')


async def test_a_local_model_may_be_a_fallback(tmp_path: Path, http: Http) -> None:
    text = '[endpoints.x]\nkind = "groq"\n[models.m]\nendpoint = "x"\nfallbacks = ["smollm2"]\n'
    assert models_of(tmp_path, http, text).info("m", "chat").fallbacks == ("smollm2",)


async def test_azure_is_asked_by_deployment_with_a_version_and_a_key_in_its_own_header(
    tmp_path: Path, http: Http
) -> None:
    async with Provider(behaviours.reply()) as provider:
        text = f"""
            [endpoints.azure]
            kind = "azure-openai"
            base_url = "http://127.0.0.1:{provider.port}"
            [models.m]
            endpoint = "azure"
            model = "my deployment"
            """
        seen = await read(models_of(tmp_path, http, text, AZURE_OPENAI_API_KEY="secret-1").chat(REQUEST))
    assert seen.text == "Hello"
    [asked] = provider.requests
    assert asked.path == "/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21"
    assert asked.headers["api-key"] == "secret-1"
    assert "authorization" not in asked.headers


async def test_what_the_settings_come_to_is_said_without_any_key(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        [cache]
        chat = "memory"
        [endpoints.openai]
        kind = "openai"
        [endpoints.theirs]
        kind = "groq"
        keys = "caller"
        [models.gpt-4o]
        endpoint = "openai"
        fallbacks = ["fast"]
        [models.fast]
        endpoint = "theirs"
        price = { input = 1, output = 2 }
        """,
    )
    lines = "\n".join(await explain(settings, {"OPENAI_API_KEY": "sk-secret"}))
    assert "endpoint   openai: openai at https://api.openai.com/v1, key from OPENAI_API_KEY, which is set" in lines
    assert "endpoint   theirs: openai at https://api.groq.com/openai/v1, the key that each call brings" in lines
    assert "else fast; reads and writes 128000 tokens" in lines
    assert "a million tokens cost $2.5 read, $10 written, $1.25 read from its cache, as of " in lines
    assert "a million tokens cost $1 read, $2 written\n" in lines
    assert "caches     replies that callers allow it for" in lines
    assert "sk-secret" not in lines


def test_every_kind_and_every_failure_that_is_tried_elsewhere_is_explained() -> None:
    page = (Path(__file__).parent.parent / "docs" / "providers.md").read_text("utf-8")
    for name, kind in KINDS.items():
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert kind.base_url in row
        assert kind.api_key_env in row
        assert f"`{kind.wire}`" in row
    assert {reason for reason in ELSEWHERE if f"`{reason}`" not in page} == set()
