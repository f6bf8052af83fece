"""Chat requests as OpenAI writes them, in.

Fields that nobody here knows are passed over, as servers of this kind do: clients send many that matter to OpenAI only,
and some that steer how other servers draw tokens. What is known and cannot be done is refused, so that nobody takes an
answer for what was not asked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from stepwired.chat_checks import (
    CHOICES,
    MODEL_BYTES,
    RANGES,
    TOOLS,
    check_choice,
    check_each_name_once,
    check_effort,
    check_name,
    check_stop,
    check_tool,
    check_top_p,
    checked_biases,
    schema_of_text,
)
from stepwired.errors import Reason
from stepwired.events import ChatOptions, ChatRequest, Json, ResponseFormat, Tool
from stepwired.jsonvalue import kind
from stepwired.limits import Limits
from stepwired.violations import Faults
from stepwired.web.convert.fields import MOST_FAULTS, Fields
from stepwired.web.convert.messages import Said, messages
from stepwired.web.convert.naming import Names

_sorted = msgspec.json.Encoder(order="sorted").encode

_BAD = Reason.MODEL_CONFIG_INVALID

_FORMATS = (
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs"),  # vLLM's
    *("grammar", "json_schema"),  # llama.cpp's
)

#: Fields that would change the answer in a way that is not offered, and why not.
_REFUSED = {
    "functions": "is the old form of `tools`: send those",
    "function_call": "is the old form of `tool_choice`: send that",
    "audio": "is not offered: replies are text",
    "web_search_options": "is not offered",
    "verbosity": "is not offered: ask for it in words",
    # Who sends these takes the reply for what they say.
    **dict.fromkeys(_FORMATS, "is another server's way to ask for a format: send `response_format`"),
    # Where a key of the server's goes is for its operator to say.
    "base_url": "is not for a request to choose",
    "api_base": "is not for a request to choose",
    "api_key": "is sent in the header `X-Provider-Key`, where the server takes keys at all",
}


class Asked(NamedTuple):
    """What to reply to, and how."""

    request: ChatRequest
    is_streamed: bool
    has_usage: bool
    """Whether the stream ends with what was used."""

    names: Names
    """For failures: of the request's fields, as they were sent."""


#: What of it asks for nothing: clients send the defaults, and what is empty.
_HARMLESS: dict[str, tuple[Json, ...]] = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "verbosity": ("medium",),
    **dict.fromkeys(_FORMATS, ("", [], {})),
}

#: What 0 is sent as, which not every provider takes: of so small a part, only the likeliest token is drawn.
_LEAST_TOP_P = 0.000001


def chat_request(given: dict[str, Json], limits: Limits) -> Asked:
    """Read what to reply to, and how.

    Raises:
        InvalidRequest: With every fault, up to `MOST_FAULTS`.
    """
    faults = Faults(MOST_FAULTS)
    fields = Fields(given, "", faults)
    model = fields.text("model")
    faults.text("model", model, MODEL_BYTES)
    said = _messages(fields, limits, faults)
    options = _options(fields, faults)
    is_streamed = bool(fields.flag("stream"))
    has_usage = False
    if fields.has("stream_options"):
        has_usage = bool(fields.inner("stream_options").flag("include_usage"))
        if not is_streamed:
            faults.add("stream_options", "has a meaning only beside stream", _BAD)
    if (count := fields.integer("n")) is not None and count != 1:
        faults.add("n", f"is {count}, and must be 1", _BAD)
    if not _REFUSED.keys().isdisjoint(given):
        _refuse(fields, faults)
    for index, modality in enumerate(fields.items("modalities")):
        if modality != "text":
            faults.add(f"modalities[{index}]", "must be text", Reason.MODEL_FEATURE_UNSUPPORTED)
    faults.stop()
    request = ChatRequest(model=model, messages=tuple(said.messages), options=options)
    return Asked(request, is_streamed, has_usage, Names(said.places, said.pictures, _option_names(fields)))


def _refuse(fields: Fields, faults: Faults) -> None:
    for name, why in _REFUSED.items():
        if fields.has(name) and fields.get(name) not in _HARMLESS.get(name, ()):
            faults.add(name, why, _BAD)
    if fields.get("function_call") == "none" and fields.get("tools"):
        faults.add("function_call", _REFUSED["function_call"], _BAD)


def _option_names(fields: Fields) -> dict[str, str]:
    """What options are called that have several names, or come of a field that is no option of ours."""
    names = {}
    if fields.has("max_completion_tokens"):
        names["max_tokens"] = "max_completion_tokens"
    if not fields.has("top_logprobs"):
        names["top_logprobs"] = "logprobs"
    return names


def _messages(fields: Fields, limits: Limits, faults: Faults) -> Said:
    if not fields.has("messages"):
        faults.add("messages", "is needed", Reason.FIELD_REQUIRED)
        return Said()
    given = fields.items("messages")
    return messages(given, limits, faults) if isinstance(fields.get("messages"), list) else Said()


def _options(fields: Fields, faults: Faults) -> ChatOptions:
    tools = _tools(fields, faults)
    top_p = fields.number("top_p")
    if top_p == 0:
        top_p = _LEAST_TOP_P
    elif top_p is not None:
        check_top_p("top_p", top_p, faults)
    effort = fields.text("reasoning_effort")
    check_effort("reasoning_effort", effort, faults)
    is_parallel = fields.flag("parallel_tool_calls")
    return ChatOptions(
        temperature=_ranged(fields, "temperature", faults),
        top_p=top_p,
        max_tokens=_max_tokens(fields, faults),
        stop=_stop(fields, faults),
        seed=_ranged(fields, "seed", faults, whole=True),
        presence_penalty=_ranged(fields, "presence_penalty", faults),
        frequency_penalty=_ranged(fields, "frequency_penalty", faults),
        tools=tools,
        tool_choice=_tool_choice(fields, tools, faults),
        parallel_tool_calls=is_parallel if tools else None,
        response_format=_response_format(fields, faults),
        reasoning_effort=effort,
        logit_bias=_logit_bias(fields, faults),
        top_logprobs=_logprobs(fields, faults),
    )


def _ranged(fields: Fields, name: str, faults: Faults, *, whole: bool = False, rule: str = "") -> Any:
    value = fields.integer(name) if whole else fields.number(name)
    if value is not None:
        faults.within(name, value, *RANGES[rule or name], _BAD)
    return value


def _max_tokens(fields: Fields, faults: Faults) -> int | None:
    """Read the newer field, or else the older."""
    names = ("max_completion_tokens", "max_tokens")
    name = next((name for name in names if fields.has(name)), names[0])
    read: int | None = _ranged(fields, name, faults, whole=True, rule="max_tokens")
    return read


def _stop(fields: Fields, faults: Faults) -> tuple[str, ...]:
    if isinstance(text := fields.get("stop"), str):
        check_stop("stop", [text], faults)
        return (text,)
    texts = []
    for index, each in enumerate(fields.items("stop")):
        if isinstance(each, str):
            texts.append(each)
        else:
            faults.add(f"stop[{index}]", f"must be a string, and is {kind(each)}", _BAD)
    check_stop("stop", texts, faults)
    return tuple(texts)


def _tools(fields: Fields, faults: Faults) -> tuple[Tool, ...]:
    given = fields.items("tools")
    if len(given) > TOOLS:
        faults.add("tools", f"has {len(given)} items, and the limit is {TOOLS}", _BAD)
        return ()
    tools = tuple(_tool(Fields(item, f"tools[{index}]", faults, _BAD)) for index, item in enumerate(given))
    check_each_name_once("tools", [tool.name for tool in tools], faults, ".function.name")
    return tools


def _tool(given: Fields) -> Tool:
    faults = given.faults
    if (word := given.text("type")) not in {"", "function"}:
        faults.add(given.place("type"), f"`{word[:64]}` must be function", _BAD)
    function = given.inner("function")
    name, description = function.text("name"), function.text("description")
    check_tool(function.path, name, description, faults)
    schema = Tool("").schema
    if function.has("parameters") and (parameters := function.get("parameters")) != {}:  # some write it for: none
        schema = _schema(function.place("parameters"), parameters, faults, is_object=True)
    return Tool(name=name, description=description, schema=schema, strict=function.flag("strict"))


def _schema(path: str, schema: Json, faults: Faults, *, is_object: bool) -> bytes:
    """Read a schema; the provider gets it with its keys sorted and its integers as they were."""
    return schema_of_text(path, _sorted(schema).decode(), faults, is_object=is_object)


def _tool_choice(fields: Fields, tools: tuple[Tool, ...], faults: Faults) -> str:
    given = fields.get("tool_choice")
    if given is None:
        return ""
    is_word = isinstance(given, str)
    choice = given if isinstance(given, str) else fields.inner("tool_choice").inner("function").text("name")
    if not tools:
        # Clients say `none` or `auto` beside an empty list. Nothing can be asked for, and nothing is.
        if choice not in {"none", "auto"}:
            faults.add("tool_choice", "has a meaning only beside tools", _BAD)
        return ""
    if not choice:
        faults.add("tool_choice", "must be auto, none, required or an object that names a function", _BAD)
    elif choice in CHOICES and not is_word:
        faults.add("tool_choice", f"a function that is called {choice} cannot be chosen: give it another name", _BAD)
    check_choice("tool_choice", choice, {tool.name for tool in tools}, faults)
    return choice


def _response_format(fields: Fields, faults: Faults) -> ResponseFormat | None:
    if not fields.has("response_format"):
        return None
    given = fields.inner("response_format")
    match given.text("type"):
        case "text":
            return None
        case "json_object":
            return ResponseFormat()
        case "json_schema":
            inner = given.inner("json_schema")
            name = inner.text("name")
            if name:
                check_name(inner.place("name"), name, faults)
            place = inner.place("schema")
            if not inner.has("schema"):
                faults.add(place, "is needed", Reason.FIELD_REQUIRED)
                return None
            schema = _schema(place, inner.get("schema"), faults, is_object=False)
            return ResponseFormat(schema, name or ResponseFormat().name)
        case other:
            told = f"`{other[:64]}` is none of text, json_object and json_schema" if other else "is needed"
            faults.add(given.place("type"), told, _BAD)
            return None


def _logit_bias(fields: Fields, faults: Faults) -> tuple[tuple[int, float], ...]:
    if not fields.has("logit_bias"):
        return ()
    given = fields.get("logit_bias")
    biases = []
    if isinstance(given, dict):
        for token, bias in given.items():
            if not (token.isascii() and token.isdigit() and len(token) <= 9):
                faults.add(f"logit_bias[{token[:16]}]", "is the number of no token", _BAD)
            elif isinstance(bias, bool) or not isinstance(bias, int | float):
                faults.add(f"logit_bias[{token}]", f"must be a number, and is {kind(bias)}", _BAD)
            else:
                biases.append((int(token), float(bias)))
    else:
        fields.inner("logit_bias")
    return checked_biases("logit_bias", biases, faults)


def _logprobs(fields: Fields, faults: Faults) -> int | None:
    wanted = fields.flag("logprobs")
    top: int | None = _ranged(fields, "top_logprobs", faults, whole=True)
    if top is not None and not wanted:
        faults.add("top_logprobs", "has a meaning only beside logprobs", _BAD)
    return (top or 0) if wanted else None
