"""The steps that are not made of other steps: models, search, templates, lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields, replace

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import (
    Chat,
    ChatOptions,
    ChatRequest,
    Embed,
    EmbedRequest,
    Finished,
    Json,
    Message,
    TextDelta,
)
from stepwired.jsonvalue import kind
from stepwired.steps import spec
from stepwired.steps.core import Results, Step
from stepwired.steps.meter import Meter
from stepwired.steps.results import Value, Vector
from stepwired.steps.similarity import rank
from stepwired.steps.template import fill


@dataclass(frozen=True, slots=True)
class Models:
    """What the leaves know of the world: functions that they are given."""

    chat: Chat
    embed: Embed

    chat_request: Callable[[Json], ChatRequest]
    """Reads what a chat step takes: a text, a message, a list of messages, or the fields of a chat request.

    Raises:
        InvalidRequest: It is none of these.
    """

    as_json: Callable[[Value], Json]
    """How a function sees a value: a message as an object, a vector as a list of numbers, bytes as base64."""


def chat(leaf: spec.ChatLeaf, models: Models, meter: Meter) -> Step:
    """Ask a model for a reply; the messages it makes are the results, usually one."""

    async def run(value: Value) -> Results:
        request = _chat_request(leaf, models, value)
        async with aclosing(models.chat(request)) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, Finished):
                        meter.used(event.usage, model=event.model, provider=event.provider)
                        for message in event.messages:
                            yield message
                    elif isinstance(event, TextDelta) and meter.is_watched:
                        meter.text_delta(event.text)

    return run


def _chat_request(leaf: spec.ChatLeaf, models: Models, value: Value) -> ChatRequest:
    if isinstance(value, Message):
        asked = ChatRequest(messages=(value,))
    elif isinstance(value, Vector | bytes):
        raise _refused("a text, a message, a list of messages, or an object with the fields of a chat request", value)
    else:
        try:
            asked = models.chat_request(value)
        except InvalidRequest as failure:
            raise InvalidRequest(Reason.STEP_INPUT_INVALID, str(failure)) from None
    return replace(
        asked,
        model=asked.model or leaf.model,
        system=asked.system or leaf.system,
        options=_merged(leaf.options, asked.options),
    )


def _merged(given: ChatOptions, asked: ChatOptions) -> ChatOptions:
    """Take each option of `asked` that says something, and of `given` where it does not."""
    said = {each.name: value for each in fields(asked) if (value := getattr(asked, each.name)) not in (None, ())}
    return replace(given, **said)


def embed(leaf: spec.EmbedLeaf, models: Models, meter: Meter) -> Step:
    """Turn a text into its vector, or each text of a list into its own, asked for together."""

    async def run(value: Value) -> Results:
        if isinstance(value, str):
            texts = [value]
        elif isinstance(value, list):
            texts = _texts(value, "every item of the list")
        else:
            raise _refused("a text or a list of texts", value)
        if not texts:
            return
        made = await models.embed(EmbedRequest(tuple(texts), leaf.model))
        meter.used(made.usage, model=made.model, provider="")
        for index, row in enumerate(made.rows):
            yield Vector(row, made.model, index if isinstance(value, list) else None)

    return run


def search(leaf: spec.SearchLeaf, models: Models, meter: Meter) -> Step:
    """Rank documents by how near they are in meaning to a query, best first."""

    async def run(value: Value) -> Results:
        if not (isinstance(value, dict) and isinstance(query := value.get("query"), str)):
            raise _refused('an object {"query": a text, "documents": a list of texts}', value)
        documents = _texts(value.get("documents"), "`documents`: every item")
        if not documents:
            return
        made = await models.embed(EmbedRequest((query, *documents), leaf.model))
        meter.used(made.usage, model=made.model, provider="")
        for index, score in await rank(made.rows[0], made.rows[1:], top_k=leaf.top_k):
            yield {"index": index, "score": score, "text": documents[index]}

    return run


def render(leaf: spec.Render, models: Models) -> Step:
    """Fill a template with the value."""

    async def run(value: Value) -> Results:
        yield fill(leaf.template, models.as_json(value))

    return run


def spread(meter: Meter) -> Step:
    """Turn a list into its items."""

    async def run(value: Value) -> Results:
        values = the_list(value)
        meter.withheld += len(values)
        for item in values:
            meter.withheld -= 1
            yield item

    return run


def the_list(value: Value) -> Sequence[Json]:
    """The value, if it is a list.

    Raises:
        InvalidRequest: It is anything else.
    """
    if not isinstance(value, list):
        raise _refused("a list", value)
    return value


def _texts(value: Json, which: str) -> list[str]:
    texts = the_list(value)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidRequest(
                Reason.STEP_INPUT_INVALID, f"{which} has to be a text, but item {index} is {kind(text)}"
            )
    return [text for text in texts if isinstance(text, str)]


def _refused(wanted: str, value: Value) -> InvalidRequest:
    match value:
        case Vector():
            what = "a vector"
        case Message():
            what = "a message"
        case bytes():
            what = "bytes"
        case _:
            what = kind(value)
    return InvalidRequest(Reason.STEP_INPUT_INVALID, f"the step takes {wanted}, and was given {what}")
