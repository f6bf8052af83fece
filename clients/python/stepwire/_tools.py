"""Functions of this program as tools of a model: what a model is told of them, and how they are called."""

from __future__ import annotations

import functools
import inspect
import json
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from google.protobuf import json_format

from stepwire import _apart, _requests, _values, replies
from stepwire._functions import words
from stepwire.v1 import chat_pb2, message_pb2

#: A tool: a function of this program, the name of a step of the server, JSON as of `Tool`, or the real thing.
ToolLike: TypeAlias = Callable[..., Any] | str | Mapping[str, Any] | chat_pb2.Tool

MAX_NAME_LENGTH = 64
"""Of a tool; names of steps may be longer."""

_UNKNOWN = re.compile(r"[^A-Za-z0-9_-]")
"""What the name of a step may have, and that of a tool may not."""

_PLAIN: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Tools:
    """What a model may ask for, and which of it this program answers."""

    protos: list[chat_pb2.Tool]
    functions: Mapping[str, Callable[..., Any]]

    @classmethod
    def of(cls, given: Iterable[ToolLike]) -> Tools:
        """Read what a caller gave.

        Raises:
            TypeError: A function takes what JSON cannot say, or two have one name.
        """
        protos: list[chat_pb2.Tool] = []
        functions: dict[str, Callable[..., Any]] = {}
        for each in _several(given):
            if isinstance(each, str):
                name = _UNKNOWN.sub("_", each.partition("@")[0])[:MAX_NAME_LENGTH]
                protos.append(chat_pb2.Tool(name=name, step=each))
            elif isinstance(each, chat_pb2.Tool):
                protos.append(each)
            elif isinstance(each, Mapping):
                with _requests.checked():
                    protos.append(json_format.ParseDict(dict(each), chat_pb2.Tool()))
            else:
                made = described(each)
                if made.name in functions:
                    raise TypeError(f"two functions are called {made.name}")
                functions[made.name] = each
                protos.append(made)
        return cls(protos, functions)

    async def answer(self, called: replies.ToolCalled) -> message_pb2.ToolResult:
        """Call a function as a model asked; what it raises is told to the model."""
        function = self.functions[called.name]
        try:
            if inspect.iscoroutinefunction(function):
                answer = function(**called.input)
            else:  # in a thread: it may take its time, and may make blocking calls
                answer = await _apart.run(lambda: function(**called.input))
            if inspect.isawaitable(answer):
                answer = await answer
            return _result(called, answer if isinstance(answer, str) else _json(answer))
        except Exception as error:  # noqa: BLE001  the model may know better
            told = ": ".join(filter(None, (type(error).__name__, words(error))))
            return _result(called, told, is_error=True)


def described(function: Callable[..., Any]) -> chat_pb2.Tool:
    """Describe a function to a model: its name, what it says of itself, and a schema made of its annotations.

    Raises:
        TypeError: It takes what JSON cannot say.
    """
    if not callable(function):
        raise TypeError(f"{type(function).__name__} is no tool: give a function, the name of a step, or JSON")
    whole: Any = function
    while isinstance(whole, functools.partial):  # which knows neither its name nor its types
        whole = whole.func
    name = getattr(whole, "__name__", type(whole).__name__)
    hints = get_type_hints(whole if hasattr(whole, "__name__") else type(whole).__call__, include_extras=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            raise TypeError(f"{name}: `{parameter}` cannot be given by name, as a model gives all arguments")
        properties[parameter.name] = _schema(hints.get(parameter.name, Any), f"{name}: {parameter.name}")
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    said = inspect.cleandoc(whole.__doc__ or "")
    return chat_pb2.Tool(name=name, description=said, schema_json=json.dumps(schema))


def schema_json(schema: Mapping[str, Any] | type) -> str:
    """Write a JSON Schema; of a type, such as a `TypedDict`, the schema that it stands for."""
    return json.dumps(dict(schema) if isinstance(schema, Mapping) else _schema(schema, "response_format"))


def _schema(kind: Any, place: str) -> dict[str, Any]:
    """The schema of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if origin is Annotated:
        said = next((each for each in arguments[1:] if isinstance(each, str)), "")
        return _schema(arguments[0], place) | ({"description": said} if said else {})
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {Union, types.UnionType}:
        return {"anyOf": [_schema(each, place) for each in arguments]}
    if kind is list or origin in {list, Sequence, Iterable}:
        return {"type": "array"} | ({"items": _schema(arguments[0], place)} if arguments else {})
    if kind is dict or origin in {dict, Mapping}:
        return {"type": "object"} | ({"additionalProperties": _schema(arguments[1], place)} if arguments else {})
    if hasattr(kind, "__required_keys__"):  # a TypedDict
        hints = get_type_hints(kind, include_extras=True)
        properties = {name: _schema(hint, f"{place}.{name}") for name, hint in hints.items()}
        return {"type": "object", "properties": properties, "required": sorted(kind.__required_keys__)}
    raise TypeError(f"{place} is of type {kind!r}, which has no JSON Schema here: write the tool as JSON")


def _json(answer: Any) -> str:
    return json.dumps(_values.from_value(_values.to_value(answer)), ensure_ascii=False)


def _result(called: replies.ToolCalled, result: str, *, is_error: bool = False) -> message_pb2.ToolResult:
    return message_pb2.ToolResult(tool_id=called.tool_id, result=result, is_error=is_error)


def _several(given: Iterable[ToolLike]) -> Iterable[ToolLike]:
    if isinstance(given, str | Mapping | chat_pb2.Tool) or callable(given):
        raise TypeError(f"`tools` is a list, not {type(given).__name__}")
    return given
