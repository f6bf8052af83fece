"""The one table of wire formats that an endpoint can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stepwired.providers.anthropic import Anthropic
from stepwired.providers.base import Endpoint, Wire
from stepwired.providers.cohere import Cohere
from stepwired.providers.gemini import Gemini
from stepwired.providers.http import Http
from stepwired.providers.ollama import Ollama
from stepwired.providers.openai import OpenAI

#: By the name that an endpoint's `wire` gives them.
WIRES: Mapping[str, Callable[[Endpoint, Http], Wire]] = {
    "anthropic": Anthropic,
    "cohere": Cohere,
    "gemini": Gemini,
    "ollama": Ollama,
    "openai": OpenAI,
}
