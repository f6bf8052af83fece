"""Serves one GGUF model with llama.cpp's own HTTP server, on a free loopback port, until the parent ends.

It speaks the OpenAI wire (streamed and not, usage, grammars, logprobs), checks the key, and stops generating when a
client hangs up, so there is no code of ours between the provider and the engine.
"""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from stepwired.local.catalogue import CHAT_CONTEXT_LENGTH
from stepwired.local.child import Parent, usable_cores

TEMPERATURE = 0.2
TOP_P = 0.9
"""What a request gets that does not say. The authors of SmolLM2 advise both; llama.cpp's own 0.8 lets it ramble."""

REPLY_TOKENS = 1024
"""Where a reply ends whose request does not say: a small model may else repeat itself to the end of its context."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be chosen for a chat model."""

    model: Path
    name: str
    """What replies say answered."""

    context_length: int = CHAT_CONTEXT_LENGTH
    """Tokens of one conversation, prompt and reply together. Memory grows with it, times `slots`."""

    slots: int = 4
    """Replies generated at once. Further requests wait their turn."""

    threads: int = 0
    """0: one less than there are cores, but at least one."""

    port: int = 0
    """0: a free one."""


def serve(settings: Settings) -> None:
    """Load the model, announce the port, and serve. Never returns.

    Raises:
        RuntimeError: llama.cpp cannot load the file; it has said why on stderr.
    """
    parent = Parent()
    parent.watch()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(settings.model)
    params.model_alias = {settings.name}
    params.hostnames = ["127.0.0.1"]
    params.port = settings.port
    params.api_keys = [parent.api_key]
    params.sampling.temp = TEMPERATURE
    params.sampling.top_p = TOP_P
    params.n_predict = REPLY_TOKENS
    params.verbosity = int(os.environ.get("STEPWIRE_LOCAL_VERBOSITY", "1"))
    params.n_ctx = settings.context_length * settings.slots
    params.n_parallel = settings.slots
    # Its server gives a thread to each connection. A caller that waits for a slot must not hide one that hangs up.
    params.n_threads_http = settings.slots + 64
    # Threads of one computation wait for each other by spinning. With as many as cores, anything else that runs
    # makes them spin against it: measured on 2 cores, 1 to 14 tokens/s instead of 145 with one thread.
    threads = settings.threads or max(1, usable_cores() - 1)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    # A prompt is read in steps of this many tokens. A hang-up, or another caller's turn, comes between two steps.
    params.n_batch = 128
    params.n_ubatch = 128
    params.cache_ram_mib = 0  # prompts of past callers: 8 GiB by default
    params.fit_params = False  # it would change the context to what fits, unasked
    params.ui = False
    params.endpoint_slots = False
    server = xllamacpp.Server(params)
    parent.announce(urllib.parse.urlsplit(server.listening_address).port or 0)
    parent.wait_for_end()
