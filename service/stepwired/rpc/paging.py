"""Pages of a list that is sorted by name, asked for with tokens that only say where to go on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from stepwired.errors import Reason
from stepwired.rpc.violations import Faults

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
    if page_size:
        faults.within("page_size", page_size, 1, _MAX_SIZE)
    after = _read(call, page_token) if page_token else ""
    if after is None:
        faults.add("page_token", "was not made by this call", Reason.INVALID_PAGE_TOKEN)
    faults.stop()
    size = page_size or _DEFAULT_SIZE
    left = sorted((item for item in items if not page_token or key(item) > (after or "")), key=key)
    return left[:size], _token(call, key(left[size - 1])) if len(left) > size else ""


def _token(call: str, after: str) -> str:
    raw = f"{call}\0{after}".encode()
    return base64.urlsafe_b64encode(binascii.crc32(raw).to_bytes(4, "big") + raw).decode().rstrip("=")


def _read(call: str, token: str) -> str | None:
    try:
        packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        made_by, _, after = packed[4:].decode().partition("\0")
    except ValueError:
        return None
    return after if made_by == call and _token(call, after) == token else None
