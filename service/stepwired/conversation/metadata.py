"""What may be kept beside a conversation or a message, and how it is changed."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stepwired.conversation.sizes import struct_bytes
from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import Json
from stepwired.limits import Limits


def changed(
    old: Mapping[str, Json], new: Mapping[str, Json], limits: Limits, *, merge: bool, path: str = "metadata"
) -> Mapping[str, Json]:
    """The metadata after an update.

    Args:
        old: What is there.
        new: What takes its place, or, with `merge`, a merge patch for it (RFC 7396). Within the limits by itself.
        limits: Of metadata.
        merge: Whether `new` is a patch.
        path: Field of the request that holds `new`.

    Raises:
        InvalidRequest: INVALID_METADATA, it is too large once merged.
    """
    if not merge:
        return new
    merged = merge_patch(old, new)
    for count, limit, unit in (
        (len(compact_json(merged).encode()), limits.metadata_bytes, "bytes as JSON"),
        (struct_bytes(merged), 4 * limits.metadata_bytes, "bytes as protobuf"),
        (key_count(merged), limits.metadata_keys, "keys"),
    ):
        if count > limit:
            text = f"would come to {count} {unit} once merged, and the limit is {limit}"
            raise InvalidRequest.of([Violation(path, text, Reason.INVALID_METADATA)])
    return merged


def merge_patch(old: Json | Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """Apply a merge patch (RFC 7396): keys are set, keys whose new value is null are removed, all others stay."""
    merged = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = merge_patch(merged.get(key), value)
        else:
            merged[key] = value
    return merged


def key_count(value: Json | Mapping[str, Json]) -> int:
    """How many keys all objects within `value` have together."""
    if isinstance(value, Mapping):
        return len(value) + sum(map(key_count, value.values()))
    return sum(map(key_count, value)) if isinstance(value, list) else 0


def compact_json(value: Mapping[str, Json]) -> str:
    """JSON without blanks, keys sorted, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
