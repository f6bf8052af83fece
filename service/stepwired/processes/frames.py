"""How we and a child tell where what the other says ends: each message is sent behind its length."""

from __future__ import annotations

import socket
from typing import BinaryIO

LENGTH_BYTES = 4
"""The length comes first, big-endian."""


def length_of(head: bytes) -> int:
    """How many bytes follow this head."""
    return int.from_bytes(head, "big")


def head_of(message: bytes) -> bytes:
    """What is sent before `message`."""
    return len(message).to_bytes(LENGTH_BYTES, "big")


def read(messages: BinaryIO) -> bytes | None:
    """Wait for one message; None once there are no more. For a child, which has nothing else to do."""
    head = messages.read(LENGTH_BYTES)
    return messages.read(length_of(head)) if head else None


def write(connection: socket.socket, message: bytes) -> None:
    """Send one message, however long it takes."""
    connection.sendall(head_of(message) + message)
