"""Pages of a list, asked for with tokens that only say where to go on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from stepwired.errors import Reason
from stepwired.violations import Faults

T = TypeVar("T")

_DEFAULT_SIZE, _MAX_SIZE = 100, 1000


def page(
    call: str, items: Sequence[T], key: Callable[[T], str], page_size: int, page_token: str
) -> tuple[list[T], str]:
    """Choose one page.

    Args:
        call: Name of the call, so that a token of another is told from one of this.
        items: All there are, in any order.
        key: What they are sorted by; no two have the same.
        page_size: As requested, 0 for the default.
        page_token: As requested, empty for the first page.

    Returns:
        The items, and the token of the next page, empty on the last. Items that come and go between two calls move
        no others: a token names the last item that was shown.

    Raises:
        InvalidRequest: FIELD_INVALID or INVALID_PAGE_TOKEN.
    """
    faults = Faults()
    size = size_of(page_size, faults)
    after = position(call, page_token, faults)
    faults.stop()
    left = sorted((item for item in items if not page_token or key(item) > after), key=key)
    return left[:size], token(call, key(left[size - 1])) if len(left) > size else ""


def size_of(page_size: int, faults: Faults, *, default: int = _DEFAULT_SIZE, most: int = _MAX_SIZE) -> int:
    """Read how many items to show."""
    if page_size:
        faults.within("page_size", page_size, 1, most)
    return page_size or default


def asked(call: str, request: Any) -> str:
    """Name what is listed: the call with all that its request says beside page and size.

    A token of other filters would show some of theirs and some of these, and so it is one of another call.
    """
    filters = type(request).FromString(request.SerializeToString())
    filters.ClearField("page_size")
    filters.ClearField("page_token")
    return f"{call} {binascii.crc32(filters.SerializeToString(deterministic=True)):08x}"


def position(call: str, page_token: str, faults: Faults) -> str:
    """Read where to go on; empty for the beginning, or beside a violation."""
    after = _read(call, page_token) if page_token else ""
    if after is None:
        faults.add("page_token", "was not made by this call", Reason.INVALID_PAGE_TOKEN)
    return after or ""


def token(call: str, after: str) -> str:
    """Write where to go on; empty for the end."""
    raw = f"{call}\0{after}".encode()
    return base64.urlsafe_b64encode(binascii.crc32(raw).to_bytes(4, "big") + raw).decode().rstrip("=")


def _read(call: str, given: str) -> str | None:
    try:
        packed = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
        made_by, _, after = packed[4:].decode().partition("\0")
    except ValueError:
        return None
    return after if made_by == call and token(call, after) == given else None
