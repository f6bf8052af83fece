"""What a model is told of a function, an object or a step that is its tool."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from stepwire import AsyncClient
from stepwire._tools import Tools, described
from tests.sdk.scripted import Server
from tests.sdk.tooling import Place, anything, wait, weather


def everything(
    a: int,
    b: bool,
    c: list[float],
    d: dict[str, int],
    e: str | None,
    f: Place,
    g: Any,
    h: Mapping[str, Any],
    i: list,  # type: ignore[type-arg]
    j: Any = 3,
) -> None:
    """Takes all there is.

    And says so.
    """


def test_a_function_is_described_by_its_name_its_words_and_its_annotations() -> None:
    tool = described(everything)
    assert (tool.name, tool.description) == ("everything", "Takes all there is.\n\nAnd says so.")
    schema = json.loads(tool.schema_json)
    assert schema["properties"] == {
        "a": {"type": "integer"},
        "b": {"type": "boolean"},
        "c": {"type": "array", "items": {"type": "number"}},
        "d": {"type": "object", "additionalProperties": {"type": "integer"}},
        "e": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "f": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "near": {"type": "array", "items": {"type": "string"}}},
            "required": ["name", "near"],
        },
        "g": {},
        "h": {"type": "object", "additionalProperties": {}},
        "i": {"type": "array"},
        "j": {},
    }
    assert schema["required"] == list("abcdefghi")
    assert json.loads(described(weather).schema_json)["properties"]["unit"] == {"enum": ["C", "F"]}
    assert json.loads(described(wait).schema_json)["properties"]["seconds"] == {
        "type": "number",
        "description": "How long.",
    }


def a_lock(lock: threading.Lock) -> None: ...


def test_a_function_with_arguments_filled_in_is_described_by_itself_and_what_is_left() -> None:
    def weather(city: str, unit: str, days: int = 1) -> str:
        """Tells the weather."""
        return f"{city} {unit} {days}"

    tool = described(functools.partial(functools.partial(weather, unit="C"), days=2))
    assert (tool.name, tool.description) == ("weather", "Tells the weather.")
    schema = json.loads(tool.schema_json)
    assert schema["required"] == ["city"]
    assert schema["properties"]["city"] == {"type": "string"}


def test_an_object_that_can_be_called_is_described_by_its_call() -> None:
    class Weather:
        """Tells the weather."""

        def __call__(self, city: str) -> str:
            return city

    tool = described(Weather())
    assert (tool.name, tool.description) == ("Weather", "Tells the weather.")
    assert json.loads(tool.schema_json)["properties"] == {"city": {"type": "string"}}


@pytest.mark.parametrize(
    ("step", "name"), [("shop.price@2", "shop_price"), ("shop:price", "shop_price"), ("s" * 100, "s" * 64)]
)
def test_a_step_is_a_tool_by_a_name_that_models_take(step: str, name: str) -> None:
    [made] = Tools.of([step]).protos
    assert (made.name, made.step) == (name, step)


@pytest.mark.parametrize("tools", [[anything], [a_lock], [weather, weather], [3], "upper", weather])
async def test_what_cannot_be_a_tool_is_refused_before_anything_is_sent(
    client: AsyncClient, server: Server, tools: Any
) -> None:
    with pytest.raises(TypeError):
        await client.chat("hi", tools=tools)
    assert server.script.calls == []
