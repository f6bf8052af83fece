"""The steps that are not made of other steps: models, search, templates, lists."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields, replace

import msgspec

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
    Restarted,
    Started,
    TextDelta,
)
from stepwired.jsonvalue import kind
from stepwired.limits import Limits
from stepwired.steps import spec
from stepwired.steps.core import Input, Results, Step
from stepwired.steps.meter import Meter
from stepwired.steps.remote import Facts, Served
from stepwired.steps.results import Value, Vector
from stepwired.steps.similarity import rank
from stepwired.steps.template import fill
from stepwired.steps.values import check, too_large

#: The name that the ids go under which inputs of chat steps have: they do not meet those of calls.
REQUEST_SCOPE = "ChatStep"


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

    code_of: Callable[[Reason], int] = lambda _: 2
    """The `google.rpc.Code` of a reason, for functions that decide what to do about a failure."""


def chat(leaf: spec.ChatLeaf, models: Models, meter: Meter) -> Step:
    """Ask a model for a reply; the messages it makes are the results, usually one, or else the pieces of its text."""
    deltas = leaf.emit is spec.ChatEmit.DELTAS

    async def run(given: Input) -> Results:
        request = _chat_request(leaf, models, given.value)
        if deltas and request.options.may_restart and not leaf.options.may_restart:
            raise wrong("what may begin a reply again has to stand in the step itself if that results in its pieces")
        async with aclosing(models.chat(request)) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, Finished):
                        meter.used(event.usage, model=event.model, provider=event.provider)
                        for message in () if deltas else event.messages:
                            yield message
                    elif isinstance(event, TextDelta):
                        if meter.is_watched:
                            meter.text_delta(given.path, event.text)
                        if deltas:
                            yield event.text
                    elif isinstance(event, Restarted):
                        meter.restarted(given.path, event.attempt)
                    elif isinstance(event, Started) and event.is_cached:
                        meter.cache_hits += 1

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
            raise wrong(str(failure)) from None
    if asked.request_id:  # another step asks another thing with the same input
        said = msgspec.json.encode((leaf.model, leaf.system, leaf.options), order="deterministic")
        digest = hashlib.sha256(asked.request_digest + said).digest()
        asked = replace(asked, request_scope=REQUEST_SCOPE, request_digest=digest)
    return replace(
        asked,
        model=asked.model or leaf.model,
        system=asked.system or leaf.system,
        options=_merged(leaf.options, asked.options),
    )


def _merged(given: ChatOptions, asked: ChatOptions) -> ChatOptions:
    """Take each option of `asked` that says something, and of `given` where it does not."""
    said = {each.name: value for each in fields(asked) if (value := getattr(asked, each.name)) != each.default}
    return replace(given, **said)


def embed(leaf: spec.EmbedLeaf, models: Models, limits: Limits, meter: Meter) -> Step:
    """Turn a text into its vector, or each text of a list into its own, asked for together and equal ones once."""

    async def run(given: Input) -> Results:
        is_list = isinstance(given.value, list)
        if not isinstance(given.value, list | str):
            raise _refused("a text or a list of texts", given.value)
        asked: list[Json] = given.value if isinstance(given.value, list) else [given.value]
        texts = _texts(asked, "item {} of the list" if is_list else "the text", limits)
        if not texts:
            return
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        made = await models.embed(EmbedRequest(tuple(places), leaf.model))
        meter.used(made.usage, model=made.model, provider="")
        meter.cache_hits += made.cache_hits
        for index, text in enumerate(texts):
            yield Vector(made.rows[places[text]], made.model, index if is_list else None)

    return run


def search(leaf: spec.SearchLeaf, models: Models, limits: Limits, meter: Meter) -> Step:
    """Rank documents by how near they are in meaning to a query, best first."""

    async def run(given: Input) -> Results:
        asked = given.value
        if not (isinstance(asked, dict) and isinstance(asked.get("query"), str)):
            raise _refused('an object {"query": a text, "documents": a list of texts}', asked)
        documents = _texts(asked.get("documents"), "item {} of `documents`", limits)
        if not documents:
            return
        texts = _texts([asked["query"]], "`query`", limits, besides=len(documents)) + documents
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        made = await models.embed(EmbedRequest(tuple(places), leaf.model))
        meter.used(made.usage, model=made.model, provider="")
        meter.cache_hits += made.cache_hits
        rows = [made.rows[places[text]] for text in texts]
        for index, score in await rank(rows[0], rows[1:], top_k=leaf.top_k):
            yield {"index": index, "score": score, "text": documents[index]}

    return run


def render(leaf: spec.Render, models: Models, limits: Limits) -> Step:
    """Fill a template with the value."""

    async def run(given: Input) -> Results:
        text = fill(leaf.template, models.as_json(given.value), limits.step_value_bytes)
        if text is None:
            raise too_large(limits, "render")
        yield text

    return run


def client(function: str, served: Served, models: Models, limits: Limits, facts: Callable[[Input], Facts]) -> Step:
    """Call a function that the caller of the run serves."""
    what = f"function {function}"

    async def run(given: Input) -> Results:
        async with aclosing(served.call(function, models.as_json(given.value), facts(given))) as made:
            async for each in made:
                check(each, limits, what)
                yield each

    return run


def spread(meter: Meter) -> Step:
    """Turn a list into its items."""

    async def run(given: Input) -> Results:
        values = the_list(given.value)
        meter.withheld += len(values)
        for item in values:
            meter.withheld -= 1
            yield item

    return run


def on_list(run: Callable[[Sequence[Json], Input], Results], within: Meter) -> Step:
    """Hand the items of a list to `run`.

    Args:
        run: Takes the items, and the input that they are.
        within: Is told how many items to expect.
    """

    def begin(given: Input) -> Results:
        values = the_list(given.value)
        within.expected += len(values)
        return run(values, given)

    return begin


def the_list(value: Value) -> Sequence[Json]:
    """The value, if it is a list.

    Raises:
        InvalidRequest: It is anything else.
    """
    if not isinstance(value, list):
        raise _refused("a list", value)
    return value


def _texts(value: Value, named: str, limits: Limits, *, besides: int = 0) -> list[str]:
    """The texts of a list, each one that can be embedded.

    Args:
        value: The list.
        named: What one of them is called, with `{}` for its place.
        limits: Of their number, and of each.
        besides: How many there are elsewhere.
    """
    texts = the_list(value)
    count, most_bytes = len(texts) + besides, limits.embed_text_bytes
    if count > limits.stream_embed_texts:
        raise wrong(f"the step takes at most {limits.stream_embed_texts} texts at once, and was given {count}")
    found: list[str] = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise wrong(f"{named.format(index)} has to be a text, and is {kind(text)}")
        if not text.strip():
            raise wrong(f"{named.format(index)} has to say something, and is blank")
        if len(text) > most_bytes or len(text.encode()) > most_bytes:
            raise wrong(f"{named.format(index)} has more than the {most_bytes} bytes that a text may have")
        found.append(text)
    return found


def wrong(description: str) -> InvalidRequest:
    """The failure of a step that was given what it does not take. Its meter adds which step that is."""
    return InvalidRequest(Reason.STEP_INPUT_INVALID, description)


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
    return wrong(f"the step takes {wanted}, and was given {what}")
