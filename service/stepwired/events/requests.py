"""What is asked of a chat model."""

from __future__ import annotations

from dataclasses import dataclass, field

from stepwired.events.messages import Message


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str = ""
    schema: bytes = b'{"type":"object","properties":{}}'
    """JSON Schema of its arguments, as the provider gets it: equal requests give equal bytes. Empty, only beside a
    `step`: that step's own."""

    step: str = ""
    """The step that runs it on this server; empty: the caller answers."""

    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """What a reply has to look like."""

    schema: bytes = b""
    """JSON Schema, as the provider gets it; empty: any JSON object."""

    name: str = "reply"
    retry: bool = False
    """Ask once more if the reply does not match."""


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How to answer. What is None is not sent, so that the provider's own default holds."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""
    """`auto`, `none`, `required` or a tool's name; empty: not sent."""

    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str = ""
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None
    cache: bool = False
    """May be answered from the cache of whole replies."""

    restart: bool = False
    """Begin again when the provider fails in the middle of a reply, with `Restarted`."""

    max_turns: int = 8
    tool_timeout_s: float = 60.0

    @property
    def may_restart(self) -> bool:
        """Whether a reply may begin again after its first words, with `Restarted`."""
        return self.restart or (self.response_format is not None and self.response_format.retry)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One reply to be made.

    With a `conversation_id`, `messages` are appended to that conversation first and the model is sent the path
    to the last of them; `parent_id` continues from that message instead of the head, and `if_revision` refuses a
    conversation that has changed since. `system` is sent before everything else and never stored.
    """

    model: str = ""
    system: str = ""
    messages: tuple[Message, ...] = ()
    conversation_id: str = ""
    parent_id: str = ""
    if_revision: int | None = None
    options: ChatOptions = ChatOptions()
    request_id: str = ""
    """Makes the call safe to repeat; empty: it is not."""

    request_scope: str = ""
    """Name of the call that it was given to: ids of different calls do not meet."""

    request_digest: bytes = b""
    """Tells requests with an id apart: the same request gives the same bytes, another gives others."""

    caller_key: str = field(default="", repr=False)
    """The provider key that the caller brought, for endpoints whose keys callers bring. A secret."""
