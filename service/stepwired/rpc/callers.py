"""What a caller brings beside its request."""

from __future__ import annotations

from typing import Any

import grpc

from stepwired.errors import InvalidRequest, Reason

Context = grpc.aio.ServicerContext[Any, Any]

PROVIDER_KEY = "x-provider-key"
_KEY_CHARACTERS = 4096


def provider_key(context: Context) -> str:
    """The provider key that the caller brought; empty if there is none. A secret.

    Raises:
        InvalidRequest: PROVIDER_CALLER_KEY_INVALID, it can be none.
    """
    for name, value in context.invocation_metadata() or ():
        if name == PROVIDER_KEY:
            key = value.strip() if isinstance(value, str) else ""
            if not (0 < len(key) <= _KEY_CHARACTERS and key.isascii() and key.isprintable()):
                text = f"invalid api key: {PROVIDER_KEY} must be 1 to {_KEY_CHARACTERS} printable ASCII characters"
                raise InvalidRequest(Reason.PROVIDER_CALLER_KEY_INVALID, text)
            return key
    return ""
