"""The one table of limits: how much of anything a caller, a run or a provider may use.

Every number can be set in `[limits]` of `stepwire.toml`. A limit is checked where the thing enters, so that
work which cannot succeed never starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

KIB = 1024
MIB = 1024 * KIB

#: What a call to a provider may take, in seconds, and how many texts it may embed, unless its endpoint says so.
CONNECT_S, FIRST_BYTE_S, IDLE_S, TOTAL_S = 5.0, 60.0, 60.0, 600.0
EMBED_BATCH = 2048

#: How far limits can be raised. Beyond those named here nothing could be sent, stored or read back; the rest is only
#: sane. A message has a text or a tool's input, a thought and its proof of the size of a text, and metadata.
_MOST = {
    "max_calls": 100_000,
    "request_bytes": 256 * MIB,
    "reply_bytes": 4 * MIB,
    "stream_message_bytes": 1 * MIB,
    "message_text_bytes": 1 * MIB,
    "tool_input_bytes": 1 * MIB,
    "metadata_bytes": 64 * KIB,
    "metadata_depth": 32,
    "step_depth": 45,
    "function_s": 60,
    "function_stack_bytes": 6 * MIB,  # within the 8 MiB that a process has for it
    "function_input_bytes": 16 * MIB,
    "function_output_bytes": 16 * MIB,
    "pipeline_bytes": 3 * MIB,
}
_MOST_OF_ANY, _MOST_SECONDS = 2**31 - 1, 10_000_000
_LEAST = {
    "stream_message_bytes": 1 * KIB,  # a piece of text has to hold a character
    "function_s": 0.001,
    "function_memory_bytes": 1 * MIB,  # JavaScript itself needs a tenth of that
    "function_stack_bytes": 64 * KIB,
}
#: What an embedding takes beside its numbers: the model's name, its place, and what protobuf puts around them.
_EMBEDDING_BYTES = 1 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """One immutable value, handed to whoever has to keep a limit."""

    max_calls: int = 2000
    """Calls served at once by the process. Further ones are refused at once, not queued."""

    request_bytes: int = 16 * MIB
    """Largest request that gRPC reads. Ours are smaller, because gRPC's own refusal names no reason."""

    request_json_values: int = 50_000
    """Values in one request that comes as JSON, over HTTP: each costs 5 µs and a hundred times its bytes. Counted are
    commas, colons and brackets, so that one within an object is two; and 32 digits in a row are one more."""

    bodies_bytes: int = 256 * MIB
    """All requests together that are being sent over HTTP just now, the first 64 KiB of each aside. What would be more
    is refused at once."""

    reply_bytes: int = 4 * MIB
    """Largest reply message: what a stock client accepts."""

    stream_message_bytes: int = 64 * KIB
    """Where a streamed message is cut: a slow reader costs its window times this."""

    request_text_bytes: int = 8 * MIB
    """All texts of one request together, UTF-8."""

    message_text_bytes: int = 1 * MIB
    """One message's text, UTF-8."""

    tool_input_bytes: int = 1 * MIB
    """One tool call's input, as compact JSON."""

    input_bytes: int = 4 * MIB
    """What a run begins with, as protobuf and as compact JSON."""

    json_values: int = 100_000
    """Values in all JSON of one request: each number, text, list and object counts."""

    conversation_messages: int = 100_000
    """Messages of one conversation."""

    append_messages: int = 1000
    """Messages of one append, or of one chat request."""

    metadata_bytes: int = 64 * KIB
    """Metadata of one message or conversation, as compact JSON."""

    metadata_depth: int = 32
    """Nesting of metadata and of any JSON value: protobuf refuses to read a Struct somewhat deeper."""

    metadata_keys: int = 1000
    """Keys of one metadata object, all levels together."""

    image_bytes: int = 20 * MIB
    """One picture's file."""

    image_pixels: int = 50_000_000
    """One picture, its width times its height. More are refused before they are decoded."""

    image_decode_s: float = 5.0
    """How long the decoder may work on one picture; what takes longer is taken for damaged."""

    image_decode_bytes: int = 1280 * MIB
    """Address space of a process that decodes pictures."""

    embed_texts: int = 256
    """Texts of one Embed call."""

    embed_floats: int = 900_000
    """Numbers in one Embed reply. Refused at the start if vectors of so many could be larger than `reply_bytes`."""

    http_embed_floats: int = 3_200_000
    """Numbers in one answer with vectors over HTTP: 1,000 of OpenAI's longest, as clients ask for at once."""

    stream_embed_texts: int = 2048
    """Texts of one StreamEmbeddings or Search call, and of one request over HTTP."""

    embed_text_bytes: int = 32 * KIB
    """One text to embed, UTF-8."""

    tool_result_bytes: int = 64 * KIB
    """What a model is told of one answer of a tool that runs here, UTF-8. What is longer is cut, and says so."""

    tool_results_bytes: int = 1 * MIB
    """All such answers of one reply together."""

    tool_runs: int = 256
    """Runs of tools within one reply. Once there are so many, the model is asked for the last time."""

    tool_depth: int = 3
    """Replies with tools of this server within runs of tools, within replies: a tool may ask a model that has tools."""

    step_depth: int = 32
    """Steps nested in steps: protobuf reads a spec up to about 48 deep."""

    step_nodes: int = 1000
    """Steps in one spec."""

    pipeline_bytes: int = 1 * MIB
    """The steps of one saved pipeline, as protobuf."""

    pipelines: int = 5_000
    """Versions of saved pipelines."""

    pipelines_bytes: int = 64 * MIB
    """All versions of all saved pipelines together: the server keeps them in memory."""

    pipelines_steps: int = 100_000
    """Steps of all of those together, which take more memory than the bytes they are written in."""

    step_values: int = 1_000_000
    """Values that leave one stage of a run."""

    step_value_bytes: int = 1 * MIB
    """One value that a step makes: a text, a list, an object."""

    step_attempts: int = 10
    """Largest `max_attempts` of a retry step."""

    step_wait_s: float = 3600.0
    """Longest delay of a retry step, and longest limit of a timeout step."""

    run_retries: int = 100
    """Attempts beyond the first that all retry steps of one run may make together."""

    retry_buffer_bytes: int = 16 * MIB
    """Results that a retry step holds back for one input, where it is told to."""

    step_threads: int = 32
    """Named steps that run in threads at once; further ones wait. One that was cancelled counts until it returns."""

    function_source_bytes: int = 64 * KIB
    """One function in JavaScript, UTF-8."""

    function_s: float = 0.25
    """How long one call of a function may compute. Nothing else interrupts it: other callers wait so long."""

    function_memory_bytes: int = 32 * MIB
    """All that a function holds, what it was called with and what it returns too."""

    function_stack_bytes: int = 4 * MIB
    """How deep a function may call itself; a call of a small one takes about 1.7 KiB."""

    function_input_bytes: int = 1 * MIB
    """The arguments of one call, as compact JSON."""

    function_output_bytes: int = 1 * MIB
    """What one call returns, as compact JSON."""

    collect_values: int = 10_000
    """Results of one CollectStep call."""

    step_concurrency: int = 256
    """Largest `max_concurrency` of a step."""

    step_buffer: int = 1024
    """Largest `buffer` of a step."""

    call_outputs: int = 16
    """Outputs of one open call of a caller's function, or of a worker, that wait to be taken before its stream is read
    no further; see `steps.line`."""

    call_outputs_bytes: int = 1 * MIB
    """All of those together."""

    stream_outputs_bytes: int = 8 * MIB
    """What is read on beyond that, of all calls of one stream together, while another of them is waited for."""

    worker_steps: int = 100
    """Steps that one worker registers."""

    worker_calls: int = 1000
    """Largest `max_in_flight` of a worker."""

    worker_calls_waiting: int = 1000
    """Calls that wait for any worker to have room. Further ones are refused at once."""

    worker_attempts: int = 3
    """How many workers may be lost with one call, before it is taken to be the cause."""

    worker_wait_s: float = 10.0
    """How long calls wait for a worker to come back after the last one that served their step is gone."""

    worker_known_s: float = 600.0
    """How long a step is still known after that: its calls fail with NO_WORKER, which may be tried again."""

    worker_steps_known: int = 1000
    """Steps that are known without a worker, each with its schemas. Beyond that, the one left first is forgotten."""

    worker_heartbeat_s: float = 5.0
    """How often workers and the server tell each other that they are alive. Who is silent for three times is dead."""

    run_s: float = 3600.0
    """Wall time of one run."""

    stalled_reader_s: float = 60.0
    """How long a reader may leave a stream unread before the call is ended."""

    stalled_sender_s: float = 60.0
    """How long a caller may send nothing in the middle of a request stream before the call is ended."""

    talk_idle_s: float = 600.0
    """How long the caller of Converse may send nothing between two turns, to think or to run a tool, before the call is
    ended."""

    message_images: int = 16
    """Images of one message."""

    inline_image_bytes: int = 4 * MIB
    """One image whose bytes are in a request, so that requests stay below `request_bytes`."""

    inline_images_bytes: int = 8 * MIB
    """All images of one request together whose bytes are in it."""

    taken_images: int = 64
    """Images of one request that the server gets by itself: files of its own, and addresses that it fetches."""

    taken_images_bytes: int = 64 * MIB
    """All of those together."""

    chunk_bytes: int = 256 * KIB
    """One piece of a file that is sent to the server."""

    import_bytes: int = 64 * MIB
    """One conversation as a file."""

    uploads_bytes: int = 512 * MIB
    """All files together that are being sent to the server just now. Further ones are refused at once."""


def faults(limits: Limits) -> Iterator[str]:
    """Find every limit that cannot hold, by its name."""
    for each in fields(Limits):
        value, least = getattr(limits, each.name), _LEAST.get(each.name, 0)
        most = _MOST.get(each.name, _MOST_SECONDS if each.name.endswith("_s") else _MOST_OF_ANY)
        if not (least <= value <= most and value):  # NaN is never within
            yield f"{each.name}: has to be {f'at least {least}' if least else 'above 0'} and at most {most}"
    needed = 4 * limits.embed_floats + _EMBEDDING_BYTES * limits.embed_texts
    if needed > limits.reply_bytes:
        texts = f"{limits.embed_texts} vectors (`embed_texts`) of so many numbers in all"
        yield f"embed_floats: {texts} take up to {needed} bytes, and `reply_bytes` is {limits.reply_bytes}"
