"""The one table of wire formats that an endpoint can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stepwired.providers.base import Endpoint, Wire
from stepwired.providers.net.http import Http
from stepwired.providers.wires.anthropic.wire import Anthropic
from stepwired.providers.wires.cohere import Cohere
from stepwired.providers.wires.gemini.wire import Gemini
from stepwired.providers.wires.ollama.wire import Ollama
from stepwired.providers.wires.openai.wire import OpenAI

#: By the name that an endpoint's `wire` gives them.
WIRES: Mapping[str, Callable[[Endpoint, Http], Wire]] = {
    "anthropic": Anthropic,
    "cohere": Cohere,
    "gemini": Gemini,
    "ollama": Ollama,
    "openai": OpenAI,
}
