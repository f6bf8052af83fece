"""What SQL may ask of a stored body. Every connection has these functions: a view and an index are built on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import apsw

from stepwired.events import Json
from stepwired.store import codec


def add_functions(db: apsw.Connection) -> None:
    """Make `stored_text` and `stored_labels` known to a connection."""
    functions: dict[str, Any] = {"stored_text": codec.searchable_text, "stored_labels": _labels}
    for name, function in functions.items():
        db.create_scalar_function(name, function, 1, deterministic=True, flags=apsw.SQLITE_INNOCUOUS)


def label_hash(name: str, text: str) -> int:
    """A number for a label, which few others share."""
    raw = hashlib.blake2b(f"{name}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(raw, "big", signed=True)


def label_hashes(metadata: Mapping[str, Json]) -> set[int]:
    """Numbers of all labels in metadata: the texts on its first level."""
    return {label_hash(name, text) for name, text in metadata.items() if isinstance(text, str)}


def _labels(body: bytes) -> str:
    conversation = codec.decode_conversation(body, head_id="", revision=1, message_count=0, update_time_ns=0)
    return json.dumps(sorted(label_hashes(conversation.metadata)))
