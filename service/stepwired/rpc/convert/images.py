"""Pictures of messages, both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stepwire.v1 import message_pb2
from stepwired.chat_checks import check_image_detail, check_inline_image, check_uri
from stepwired.errors import Reason
from stepwired.events import Image
from stepwired.limits import Limits
from stepwired.violations import Faults

NAME_BYTES = 256
_MEDIA_TYPE_BYTES = 128
_PATH_BYTES = 4096
_BLOB_ID = re.compile(r"sha256:[0-9a-f]{64}")


def images(path: str, given: Sequence[message_pb2.Image], limits: Limits, faults: Faults) -> tuple[Image, ...]:
    """Read the pictures of one message; what is in them is not looked at."""
    if not faults.count(path, len(given), limits.message_images):
        return ()
    return tuple(image(f"{path}[{index}]", item, limits, faults) for index, item in enumerate(given))


def image(path: str, given: message_pb2.Image, limits: Limits, faults: Faults) -> Image:
    """Read one picture. What the server sets is ignored, but for the type of a picture that it never sees."""
    source = given.WhichOneof("source")
    match source:
        case "data":
            check_inline_image(f"{path}.data", given.data, limits, faults)
        case "uri":
            check_uri(f"{path}.uri", given.uri, faults)
        case "blob_id":
            blob_id(f"{path}.blob_id", given.blob_id, faults)
        case "server_path":
            faults.text(f"{path}.server_path", given.server_path, _PATH_BYTES, required=True)
        case _:
            text = "needs one of data, uri, blob_id and server_path"
            faults.add(path, text, Reason.FIELD_REQUIRED)
    if given.fetch and source not in {"uri", None}:
        faults.add(f"{path}.fetch", "has a meaning only beside a uri")
    faults.text(f"{path}.name", given.name, NAME_BYTES)
    faults.text(f"{path}.media_type", given.media_type, _MEDIA_TYPE_BYTES)
    check_image_detail(f"{path}.detail", given.detail, faults)
    return Image(
        data=given.data,
        uri=given.uri,
        blob_id=given.blob_id,
        server_path=given.server_path,
        fetch=given.fetch,
        name=given.name,
        media_type=given.media_type if source == "uri" and not given.fetch else "",
        detail=given.detail or "auto",
    )


def blob_id(path: str, value: str, faults: Faults) -> None:
    """Check what names a stored picture."""
    if not value:
        faults.add(path, "is needed", Reason.FIELD_REQUIRED)
    elif not _BLOB_ID.fullmatch(value):
        faults.add(path, "must be `sha256:` and 64 hexadecimal digits in lower case")


def inline_bytes(given: Iterable[Image]) -> int:
    """Size of all pictures whose bytes are in the request."""
    return sum(len(item.data) for item in given)
