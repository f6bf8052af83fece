"""Counts tokens offline: exactly for the texts of models whose vocabulary is known, and about right for all else.

What a message costs beside its text is documented by nobody; the figures are those that OpenAI's own examples use. A
count is of what is said, so that it may differ from the provider's by some percent.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec

from stepwired.conversation import compact_json
from stepwired.events import ChatRequest, Image, Message

#: What stands around each message, and before the reply.
MESSAGE_TOKENS, REPLY_TOKENS = 3, 3

#: What stands around each tool, and around all of them.
TOOL_TOKENS, TOOLS_TOKENS = 8, 12

#: A picture that is looked at from afar, and each square of one that is looked at closely.
IMAGE_TOKENS, TILE_TOKENS = 85, 170
_SIDE, _SHORT_SIDE, _TILE = 2048, 768, 512

#: Of a picture whose size is not known: four squares.
UNSEEN_TOKENS = IMAGE_TOKENS + 4 * TILE_TOKENS

#: Texts are cut into pieces of so many characters: a tokenizer takes no longer ones, and holds up everybody else.
PIECE_CHARACTERS = 32_768

_O200K = re.compile(r"(?:.*/)?(?:gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|gpt-oss|chatgpt-4o|o[1-9])(?![0-9a-z])")
_CL100K = re.compile(r"(?:.*/)?(?:gpt-4|gpt-3\.5|gpt-35)(?![0-9])")

#: Numbers the tokens of a text.
Encode = Callable[[str], list[int]]


def encoding_of(model: str) -> str | None:
    """The vocabulary of a model, by the provider's name of it; None if it is none of those that we have."""
    name = model.lower()
    if _O200K.match(name):
        return "o200k_base"
    return "cl100k_base" if _CL100K.match(name) else None


@lru_cache
def encoder(encoding: str) -> Encode:
    """A tokenizer. Cost: 0.1 s and 60 MB, at first; may be called by any thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it reads its own files in an old way
        import bpe_openai

        encode: Encode = bpe_openai.get_encoding(encoding).encode_ordinary
    return encode


def count_text(text: str, encode: Encode) -> int:
    """Tokens of a text; where it is cut, one more may be counted than there is. Cost: 0.1 s for 4 MB."""
    return sum(
        len(encode(text[begin : begin + PIECE_CHARACTERS].encode(errors="replace").decode()))
        for begin in range(0, len(text), PIECE_CHARACTERS)
    )


def said(request: ChatRequest) -> Iterable[str]:
    """The texts that a model is sure to be sent: what is said, thoughts and tools aside."""
    if request.system:
        yield request.system
    for message in request.messages:
        if message.text:
            yield message.text
        if message.tool_result is not None:
            yield message.tool_result.result


def least_tokens(request: ChatRequest, encode: Encode) -> int:
    """The least that a model with this vocabulary would read: what is said alone, without what was cut."""
    count = 0
    for text in said(request):
        count += max(count_text(text, encode) - len(text) // PIECE_CHARACTERS, 0)
    return count


def count(request: ChatRequest, encode: Encode) -> int:
    """About as many tokens as a model with this vocabulary would read."""
    total = REPLY_TOKENS
    if request.system:
        total += MESSAGE_TOKENS + 1 + count_text(request.system, encode)
    total += sum(_message(message, encode) for message in request.messages)
    options = request.options
    if options.tools:
        total += TOOLS_TOKENS
    for tool in options.tools:
        total += TOOL_TOKENS + count_text(f"{tool.name} {tool.description} {_compact(tool.schema)}", encode)
    if (wanted := options.response_format) is not None:
        total += TOOL_TOKENS + count_text(f"{wanted.name} {_compact(wanted.schema)}", encode)
    return total


def image_tokens(image: Image) -> int:
    """About as many tokens as a picture takes: fitted into a square, its short side brought down, cut into squares."""
    if image.detail == "low":
        return IMAGE_TOKENS
    if not (image.width and image.height):
        return UNSEEN_TOKENS
    scale = min(1.0, _SIDE / max(image.width, image.height))
    scale *= min(1.0, _SHORT_SIDE / (scale * min(image.width, image.height)))
    tiles = math.ceil(image.width * scale / _TILE) * math.ceil(image.height * scale / _TILE)
    return IMAGE_TOKENS + TILE_TOKENS * tiles


def _message(message: Message, encode: Encode) -> int:
    total = MESSAGE_TOKENS + 1 + sum(map(image_tokens, message.images))
    if message.text:
        total += count_text(message.text, encode)
    if message.tool_use is not None:
        total += count_text(f"{message.tool_use.name} {compact_json(message.tool_use.input)}", encode)
    if message.tool_result is not None:
        total += count_text(message.tool_result.result, encode)
    return total


def _compact(schema: bytes) -> str:
    return msgspec.json.format(schema, indent=-1).decode() if schema else ""
