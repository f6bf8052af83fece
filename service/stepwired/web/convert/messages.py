"""Messages as OpenAI writes them, in. One of theirs may be several of ours: a text, then each call of a tool."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from stepwired import jsonvalue
from stepwired.chat_checks import (
    TOOL_NAME_BYTES,
    check_image_detail,
    check_inline_image,
    check_inline_images,
    check_texts_together,
    check_uri,
)
from stepwired.conversation import check_messages
from stepwired.errors import Reason
from stepwired.events import Image, Json, Message, Role, ToolResult, ToolUse
from stepwired.limits import Limits
from stepwired.violations import Faults, utf8_bytes
from stepwired.web.convert.fields import Fields
from stepwired.web.convert.naming import Names

#: Under which name a model is shown arguments that it wrote and that are no JSON object.
BROKEN_ARGUMENTS = "invalid_arguments"

_encode = msgspec.json.Encoder().encode

_BAD = Reason.INVALID_MESSAGE
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}
_DATA_URL = re.compile(r"data:([A-Za-z0-9.+/-]{0,128})((?:;[^,;]{0,64}){0,4}),", re.IGNORECASE)
_BLOB_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(slots=True)
class Said:
    """What is read so far: our messages, each with the place of theirs, and how much they hold."""

    messages: list[Message] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    pictures: dict[int, list[str]] = field(default_factory=dict)
    """The places of their pictures, by the index of our message."""

    text_bytes: int = 0
    image_bytes: int = 0

    def add(self, place: str, message: Message) -> None:
        self.messages.append(message)
        self.places.append(place)


def messages(given: Sequence[Json], limits: Limits, faults: Faults) -> Said:
    """Read the messages of a request, oldest first, and check each and all of them together."""
    before = len(faults.found)
    said = Said()
    if not faults.count("messages", len(given), limits.append_messages, least=1):
        return said
    last = _last(given)
    for index, item in enumerate(given):
        _message(Fields(item, f"messages[{index}]", faults, _BAD), said, limits, is_last=index == last)
    if len(faults.found) == before:
        names = Names(said.places, said.pictures)
        for found in check_messages(said.messages):
            faults.found.append(replace(found, field=names.renamed(found.field)))
    check_texts_together("messages", said.text_bytes, limits, faults)
    check_inline_images("messages", said.image_bytes, limits, faults)
    if not said.messages and len(faults.found) == before:
        faults.add("messages", "have no content", Reason.INVALID_CONVERSATION)
    return said


def _last(given: Sequence[Json]) -> int:
    """Index of the message that is to be answered: behind it are at most empty ones, which are left out."""
    for index in range(len(given) - 1, -1, -1):
        item = given[index]
        if not isinstance(item, dict) or item.get("role") == "user":
            return index
        if any(item.get(name) for name in ("content", "tool_calls", "refusal")):
            return index
    return -1


def _message(given: Fields, said: Said, limits: Limits, *, is_last: bool) -> None:
    faults = given.faults
    name = given.text("role")
    role = _ROLES.get(name)
    if role is None:
        told = f"`{name[:64]}` is no role; roles are {', '.join(_ROLES)}" if name else "is needed"
        faults.add(given.place("role"), told, _BAD)
        return
    text, images = _content(given, said, limits)
    if role is Role.TOOL:
        tool_id = given.text("tool_call_id")
        faults.tool_id(given.place("tool_call_id"), tool_id)
        if images:
            faults.add(given.place("content"), "has an image, and the result of a tool is text", _BAD)
        said.add(given.path, Message(Role.TOOL, tool_result=ToolResult(tool_id, text)))
        return
    if not (text or images) and given.has("refusal"):
        text = given.text("refusal")
    # What has not a word is sent back as it came; no provider would take it. To answer it is another thing.
    is_needed = role is Role.USER and (is_last or not given.has("content"))
    if text or images or is_needed:
        said.add(given.path, Message(role, text=text, images=images))
    for index, call in enumerate(given.items("tool_calls")):
        place = f"{given.path}.tool_calls[{index}]"
        use = _tool_use(Fields(call, place, faults, _BAD), said, limits)
        if role is not Role.ASSISTANT:
            faults.add(given.place("tool_calls"), "belong to messages of the assistant", _BAD)
            return
        said.add(place, Message(Role.ASSISTANT, tool_use=use))


def _content(given: Fields, said: Said, limits: Limits) -> tuple[str, tuple[Image, ...]]:
    """Read a text, or a list of texts and images: its texts become lines of one, as with vLLM and llama.cpp."""
    content = given.get("content")
    images: list[Image] = []
    if isinstance(content, list):
        text = "\n".join(filter(None, _parts(given, content, images, said, limits)))
    else:
        text = given.text("content")
    said.text_bytes += given.faults.text(given.place("content"), text, limits.message_text_bytes)
    if len(images) > limits.message_images:
        given.faults.count(given.place("content"), len(images), limits.message_images)
    return text, tuple(images)


def _parts(given: Fields, content: list[Json], images: list[Image], said: Said, limits: Limits) -> Iterator[str]:
    for index, item in enumerate(content):
        part = Fields(item, f"{given.path}.content[{index}]", given.faults, _BAD)
        match part.text("type"):
            case "text" | "refusal" as name:
                yield part.text(name)
            case "image_url":
                place, image = _image(part, limits)
                said.pictures.setdefault(len(said.messages), []).append(place)
                said.image_bytes += len(image.data)
                images.append(image)
            case other:
                told = f"`{other[:64]}` is none of text, image_url and refusal" if other else "is needed"
                given.faults.add(part.place("type"), told, Reason.MODEL_FEATURE_UNSUPPORTED if other else _BAD)


def _image(part: Fields, limits: Limits) -> tuple[str, Image]:
    """Read a picture, and where its address or its bytes stand."""
    faults = part.faults
    if isinstance(url := part.get("image_url"), str):
        place, detail = part.place("image_url"), ""
    else:
        fields = part.inner("image_url")
        place, url, detail = fields.place("url"), fields.text("url"), fields.text("detail")
        check_image_detail(fields.place("detail"), detail, faults)
    detail = detail or "auto"
    if _BLOB_ID.fullmatch(url):
        return place, Image(blob_id=url, detail=detail)
    if url[:5].lower() != "data:":
        check_uri(place, url, faults)
        return place, Image(uri=url, detail=detail)
    return place, Image(data=_image_data(place, url, limits, faults), detail=detail)


def _image_data(place: str, url: str, limits: Limits, faults: Faults) -> bytes:
    """Read the bytes that a `data:` URL holds. Empty beside a fault."""
    head = _DATA_URL.match(url)
    data = b""
    if head is None or not head[2].lower().endswith(";base64"):
        faults.add(place, "must be a data: URL in base64, or an http or https URL")
    elif (size := (len(url) - head.end()) * 3 // 4) > limits.inline_image_bytes + 2:
        limit = f"the limit is {limits.inline_image_bytes}"
        faults.add(place, f"has {size} bytes, and {limit}", Reason.IMAGE_TOO_LARGE)
    else:
        try:
            data = base64.b64decode(url[head.end() :], validate=True)
            check_inline_image(place, data, limits, faults)
        except (binascii.Error, ValueError):
            faults.add(place, "has damaged base64")
    return data


def _tool_use(given: Fields, said: Said, limits: Limits) -> ToolUse:
    faults = given.faults
    kind = given.text("type")
    if kind not in {"", "function"}:
        faults.add(given.place("type"), f"`{kind[:64]}` must be function", _BAD)
    tool_id = given.text("id")
    faults.tool_id(given.place("id"), tool_id)
    function = given.inner("function")
    name = function.text("name")
    faults.text(function.place("name"), name, TOOL_NAME_BYTES, required=True)
    written = function.text("arguments") or "{}"
    said.text_bytes += utf8_bytes(written)
    return ToolUse(tool_id, name, _arguments(function.place("arguments"), written, limits, faults))


def _arguments(place: str, written: str, limits: Limits, faults: Faults) -> dict[str, Json]:
    """Read JSON within the JSON, whose values nobody has counted yet. Empty beside a fault.

    What is no object goes on as a text within one: a reply that was cut off leaves that behind, callers send it back
    with the reason why it failed, and there are providers that take objects only.
    """
    raw = written.encode(errors="surrogatepass")
    if len(raw) > 2 * limits.tool_input_bytes:
        faults.add(place, f"has {len(raw)} bytes, and the limit is {limits.tool_input_bytes}", _BAD)
        return {}
    if jsonvalue.has_more_values(raw, limits.request_json_values - faults.json_values):
        faults.add(place, f"all arguments together have more than {limits.request_json_values} values", _BAD)
        return {}
    try:
        read = jsonvalue.parse(written)
        faults.json_values += _values(read)
    except ValueError:
        faults.json_values += len(raw) // 2  # that many may have been read before it was known
        read = None
    if not isinstance(read, dict) or jsonvalue.fault(read, max_depth=limits.metadata_depth, is_wide=True):
        read = {BROKEN_ARGUMENTS: written}
    if (size := len(_encode(read))) > limits.tool_input_bytes:
        faults.add(place, f"has {size} bytes as JSON, and the limit is {limits.tool_input_bytes}", _BAD)
    return read


def _values(value: Json) -> int:
    """Count numbers, texts, lists and objects, however deep they are."""
    count = 0
    waiting = [value]
    while waiting:
        each = waiting.pop()
        count += 1
        if isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return count
