"""The one table of servers that everybody knows: vendors that share a wire are rows, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepwired.providers.wires.quirks import VENDORS, Quirks


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: all that `[endpoints.NAME]` need not say once it names the kind."""

    base_url: str = ""
    """Empty: the operator has to say it."""

    wire: str = "openai"
    api_key_env: str = ""
    """Variable with the key; empty: no key is needed."""

    key_header: str = ""
    """Header for the key; empty: `authorization`, as a bearer token."""

    path: str = ""
    """Put behind the base URL, with `{model}` for the model's name."""

    api_version: str = ""
    """Sent as a query with each request; empty: none is."""

    quirks: Quirks = Quirks()  # noqa: RUF009 - frozen


#: By the name that `kind` gives them.
KINDS: Mapping[str, Kind] = {
    "openai": Kind("https://api.openai.com/v1", api_key_env="OPENAI_API_KEY", quirks=VENDORS["openai"]),
    "azure-openai": Kind(
        api_key_env="AZURE_OPENAI_API_KEY",
        key_header="api-key",
        path="/openai/deployments/{model}",
        api_version="2024-10-21",
        quirks=VENDORS["azure"],
    ),
    "anthropic": Kind(
        "https://api.anthropic.com/v1", "anthropic", api_key_env="ANTHROPIC_API_KEY", key_header="x-api-key"
    ),
    "gemini": Kind(
        "https://generativelanguage.googleapis.com/v1beta",
        "gemini",
        api_key_env="GEMINI_API_KEY",
        key_header="x-goog-api-key",
    ),
    "cohere": Kind("https://api.cohere.com/v2", "cohere", api_key_env="COHERE_API_KEY"),
    "mistral": Kind("https://api.mistral.ai/v1", api_key_env="MISTRAL_API_KEY", quirks=VENDORS["mistral"]),
    "groq": Kind("https://api.groq.com/openai/v1", api_key_env="GROQ_API_KEY", quirks=VENDORS["groq"]),
    "together": Kind("https://api.together.xyz/v1", api_key_env="TOGETHER_API_KEY", quirks=VENDORS["together"]),
    "openrouter": Kind("https://openrouter.ai/api/v1", api_key_env="OPENROUTER_API_KEY", quirks=VENDORS["openrouter"]),
    "deepseek": Kind("https://api.deepseek.com/v1", api_key_env="DEEPSEEK_API_KEY", quirks=VENDORS["deepseek"]),
    "xai": Kind("https://api.x.ai/v1", api_key_env="XAI_API_KEY", quirks=VENDORS["xai"]),
    "ollama": Kind("http://127.0.0.1:11434", "ollama"),
    "vllm": Kind("http://127.0.0.1:8000/v1", quirks=VENDORS["vllm"]),
    "llama.cpp": Kind("http://127.0.0.1:8080/v1", quirks=VENDORS["llamacpp"]),
    "lm-studio": Kind("http://127.0.0.1:1234/v1", quirks=VENDORS["lmstudio"]),
    "synaxis": Kind("http://127.0.0.1:8080/v1"),
}
