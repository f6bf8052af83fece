"""What a caller brings beside its request."""

from __future__ import annotations

from typing import Any

import grpc

from stepwired.callers import checked_key

Context = grpc.aio.ServicerContext[Any, Any]

PROVIDER_KEY = "x-provider-key"


def provider_key(context: Context) -> str:
    """The provider key that the caller brought; empty if there is none. A secret.

    Raises:
        InvalidRequest: PROVIDER_CALLER_KEY_INVALID, it can be none.
    """
    for name, value in context.invocation_metadata() or ():
        if name == PROVIDER_KEY:
            return checked_key(value if isinstance(value, str) else "", PROVIDER_KEY)
    return ""
