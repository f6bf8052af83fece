"""How servers of one wire format differ, as data: what they call a field, and what they cannot read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from stepwired.events import ChatOptions


@dataclass(frozen=True, slots=True)
class Quirks:
    """One server's ways with the OpenAI wire. The defaults are what most servers read."""

    names: tuple[tuple[str, str], ...] = ()
    """Fields that it calls otherwise, such as `max_tokens`: OpenAI's reasoning models know `max_completion_tokens`
    only, which few others know."""

    stream_usage: bool = True
    """Whether `stream_options` may be sent. Without it the counts come unasked, or not at all."""

    unsupported: frozenset[str] = frozenset()
    """Fields of `ChatOptions` that it refuses or ignores, and that are therefore refused before it is asked."""

    effort: str = "reasoning_effort"
    """The field for it, with a dot where it lies in another, such as `reasoning.effort`."""

    efforts: tuple[str, ...] = ()
    """The efforts that it knows; empty: it says so itself."""

    schema_mode: str = "json_schema"
    """How a schema is asked for: `json_schema`; or `json_object`, where the model is told of the schema in words."""

    reasoning_back: str = ""
    """The field in which it wants its own reasoning back: `reasoning_content`, a text, or `reasoning_details`,
    unchanged; empty: none."""

    think_tags: bool = False
    """Whether a reply's text may begin with reasoning between `<think>` and `</think>`."""

    says_cost: bool = False
    """Whether `usage.cost` is what the reply cost, in US dollars."""

    tokenizes: bool = False
    """Whether it has llama.cpp's own `apply-template` and `tokenize` beside the wire."""

    tools_by_format: Literal["never", "forced", "always"] = "never"
    """When a tool call is asked for as JSON of a schema, see `openai_calls`: where there has to be one, since not every
    server sees to that; or always, since the model's chat template knows no tools."""

    short_ids: bool = False
    """Whether it takes ids of tool calls of nine letters and digits only."""


_UNSET = ChatOptions()


def unsaid(options: ChatOptions, names: Iterable[str], efforts: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """Options that are set and cannot be sent: the field of each, and why.

    Args:
        options: What is asked for.
        names: Fields that must not be set.
        efforts: What `reasoning_effort` may be, if that is known.
    """
    why = "the provider of this model knows no such option"
    for name in sorted(names):
        if getattr(options, name) != getattr(_UNSET, name):
            yield f"options.{name}", why
    if options.reasoning_effort and (known := tuple(efforts)) and options.reasoning_effort not in known:
        yield "options.reasoning_effort", f"the provider of this model knows {', '.join(known)}"


#: Known servers. What is not here is read with the defaults.
VENDORS: dict[str, Quirks] = {
    "openai": Quirks(names=(("max_tokens", "max_completion_tokens"),)),
    "azure": Quirks(names=(("max_tokens", "max_completion_tokens"),)),
    "mistral": Quirks(
        names=(("seed", "random_seed"),),
        stream_usage=False,
        short_ids=True,
        unsupported=frozenset({"logit_bias", "top_logprobs"}),
    ),
    "groq": Quirks(
        names=(("max_tokens", "max_completion_tokens"),),
        unsupported=frozenset({"logit_bias", "top_logprobs"}),
    ),
    "together": Quirks(),
    "openrouter": Quirks(effort="reasoning.effort", reasoning_back="reasoning_details", says_cost=True),
    "deepseek": Quirks(
        reasoning_back="reasoning_content",  # of turns with tools it has to come back, else it is ignored
        efforts=("minimal", "low", "medium", "high", "xhigh"),
        schema_mode="json_object",
        unsupported=frozenset({"seed", "logit_bias", "parallel_tool_calls"}),
    ),
    "xai": Quirks(unsupported=frozenset({"logit_bias"})),
    # These leave the tags in the text unless they are told how a model marks what it thinks.
    "vllm": Quirks(think_tags=True),
    "llamacpp": Quirks(think_tags=True, tokenizes=True),
    "lmstudio": Quirks(think_tags=True),
}
