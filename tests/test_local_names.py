"""Names that programs ask for out of habit: which models they mean."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from stepwired import config
from stepwired.errors import NotFound, Reason
from stepwired.local.catalogue import CHAT_FILE, EMBED_FILE, TOKENIZER_FILE
from stepwired.local.models import MANIFEST_FILE
from stepwired.local.supervisor import Supervisor
from stepwired.models import CHAT_ALIASES, EMBED_ALIASES, catalogue_of
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http
from tests.test_config import write

OPENAI = """
[endpoints.openai]
kind = "openai"
[models.gpt-4o]
endpoint = "openai"
{default}
[models.text-embedding-3-small]
endpoint = "openai"
kind = "embed"
{default}
"""
DEFAULT = OPENAI.format(default="default = true")


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    http = Http()
    yield http
    await http.aclose()


def install(folder: Path, name: str, kind: str) -> None:
    """Leave behind what there is of a local model that was fetched."""
    model = folder / "models" / name
    model.mkdir(parents=True)
    facts = {"name": name, "title": name, "kind": kind, "licence": "", "note": "", "size_bytes": 1}
    (model / MANIFEST_FILE).write_text(json.dumps(facts))
    for file in (CHAT_FILE, EMBED_FILE, TOKENIZER_FILE):
        (model / file).touch()


def models_of(folder: Path, http: Http, text: str) -> Catalogue:
    settings = config.load({"STEPWIRE_DATA_DIR": str(folder)}, file=write(folder, text))
    return catalogue_of(settings, Supervisor(folder), http, {})


@pytest.mark.parametrize("default", ["", "default = true"])
async def test_they_mean_the_local_models_whichever_is_the_default(tmp_path: Path, http: Http, default: str) -> None:
    install(tmp_path, "smollm2", "chat")
    install(tmp_path, "minilm", "embed")
    models = models_of(tmp_path, http, OPENAI.format(default=default))
    assert {name: models.resolve(name, "chat").name for name in CHAT_ALIASES} == {
        name: "gpt-4o" if name == "gpt-4o" else "smollm2" for name in CHAT_ALIASES
    }
    assert {name: models.resolve(name, "embed").name for name in EMBED_ALIASES} == {
        name: name if name == "text-embedding-3-small" else "minilm" for name in EMBED_ALIASES
    }
    assert models.resolve("", "chat").name == ("gpt-4o" if default else "smollm2")
    assert models.resolve("", "embed").name == ("text-embedding-3-small" if default else "minilm")


async def test_without_any_setting_or_model_they_say_what_to_install(tmp_path: Path, http: Http) -> None:
    assert models_of(tmp_path, http, "").resolve("gpt-4", "chat").name == "smollm2"


@pytest.mark.parametrize("text", [DEFAULT, DEFAULT + "[local]\nenabled = false\n"])
async def test_no_other_providers_model_answers_to_a_name_that_nobody_gave_it(
    tmp_path: Path, http: Http, text: str
) -> None:
    if "enabled" in text:
        install(tmp_path, "smollm2", "chat")
    with pytest.raises(NotFound) as caught:
        models_of(tmp_path, http, text).resolve("gpt-4", "chat")
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    assert "did you mean gpt-4o?" in str(caught.value)
