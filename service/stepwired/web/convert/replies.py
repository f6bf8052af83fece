"""Replies as OpenAI writes them, out: whole ones, and the parts that events are made of."""

from __future__ import annotations

from collections.abc import Sequence

from stepwired.conversation import compact_json
from stepwired.events import Finished, FinishReason, Message, ModelInfo, TextDelta, TokenLogprob, ToolUse, Usage
from stepwired.web.text import quoted

#: OpenAI has no word for a model that did not say why it stopped; its clients take anything else for an error.
_REASONS = {
    FinishReason.UNKNOWN: "stop",
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.TOOL_USE: "tool_calls",
}


def finish_reason(finished: Finished) -> str:
    """Why the model stopped."""
    return _REASONS[finished.reason]


def usage_json(usage: Usage) -> str:
    """What was used; null where the provider did not say."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return "null"
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    more = ""
    if usage.cached_input_tokens is not None:
        more += f',"prompt_tokens_details":{{"cached_tokens":{usage.cached_input_tokens}}}'
    if usage.reasoning_tokens is not None:
        more += f',"completion_tokens_details":{{"reasoning_tokens":{usage.reasoning_tokens}}}'
    return f'{{"prompt_tokens":{read},"completion_tokens":{written},"total_tokens":{read + written}{more}}}'


def logprobs_json(logprobs: Sequence[TokenLogprob]) -> str:
    """Tokens with their probabilities."""
    return f'{{"content":[{",".join(map(_logprob, logprobs))}],"refusal":null}}'


def _logprob(token: TokenLogprob) -> str:
    top = ",".join(f"{{{_token(each)}}}" for each in token.top)
    return f'{{{_token(token)},"top_logprobs":[{top}]}}'


def _token(token: TokenLogprob) -> str:
    parts = ",".join(map(str, token.token.encode(errors="surrogatepass")))
    return f'"token":{quoted(token.token)},"logprob":{token.logprob!r},"bytes":[{parts}]'


def tool_call_json(use: ToolUse, index: int | None = None) -> str:
    """A whole call of a tool."""
    place = "" if index is None else f'"index":{index},'
    function = f'{{"name":{quoted(use.name)},"arguments":{quoted(compact_json(use.input))}}}'
    return f'{{{place}"id":{quoted(use.tool_id)},"type":"function","function":{function}}}'


def completion(reply_id: str, created: int, finished: Finished, deltas: Sequence[TextDelta]) -> bytes:
    """A whole reply."""
    said = "".join(message.text for message in finished.messages)
    message = f'{{"role":"assistant","content":{quoted(said) if said or not _uses(finished.messages) else "null"}'
    if thoughts := "".join(message.reasoning.text for message in finished.messages if message.reasoning):
        message += f',"reasoning_content":{quoted(thoughts)}'
    message += ',"refusal":null'
    if uses := _uses(finished.messages):
        message += f',"tool_calls":[{",".join(map(tool_call_json, uses))}]'
    logprobs = [each for delta in deltas for each in delta.logprobs]
    choice = (
        f'{{"index":0,"message":{message}}},"logprobs":{logprobs_json(logprobs) if logprobs else "null"},'
        f'"finish_reason":"{finish_reason(finished)}"}}'
    )
    return (
        f'{{"id":"{reply_id}","object":"chat.completion","created":{created},"model":{quoted(finished.model)},'
        f'"choices":[{choice}],"usage":{usage_json(finished.usage)}}}'
    ).encode("ascii")


def _uses(messages: Sequence[Message]) -> list[ToolUse]:
    return [message.tool_use for message in messages if message.tool_use]


def model_json(info: ModelInfo, name: str, created: int) -> str:
    """One model, under one of its names."""
    return f'{{"id":{quoted(name)},"object":"model","created":{created},"owned_by":{quoted(info.endpoint)}}}'
