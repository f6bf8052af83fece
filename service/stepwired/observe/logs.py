"""Logging: one line for each thing worth knowing, to stderr, with nothing in it that must stay secret."""

from __future__ import annotations

import logging
import re
import sys

#: Keys of the usual shapes, and what stands behind words that announce one. The rule is coarse on purpose.
_SECRETS = re.compile(
    r"(?P<before>://[^/\s:@]*:)[^/\s@]+(?=@)"
    r"|(?P<word>\b(?:bearer|basic)\s+|\b(?:api[_-]?key|key|token|password|secret)\s*[=:]\s*)[^\s\"',;&@]{4,}"
    r"|\b(?:sk|pk|rk|xai|gsk|hf|ghp|AIza)[-_A-Za-z0-9]{12,}",
    re.IGNORECASE,
)

#: Libraries that would write addresses, headers or every request, at the level that we use for our own lines.
_CHATTY = ("aiohttp", "asyncio", "grpc", "httpcore", "httpx")


class Redacting(logging.Formatter):
    """Formats a line and hides what looks like a key, in tracebacks too.

    It is the handler's formatter and no filter of a logger, because those of a logger do not see the lines of its
    children.
    """

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def redact(text: str) -> str:
    """Put `***` in the place of whatever looks like a key."""
    return _SECRETS.sub(lambda found: f"{found['before'] or found['word'] or ''}***", text)


def configure(level: str) -> None:
    """Send lines of at least this level to stderr. Call it once, and before gRPC: their locks may deadlock."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
