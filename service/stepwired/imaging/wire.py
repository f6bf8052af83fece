"""What we and the process that decodes say to each other: a file one way, a verdict in JSON the other."""

from __future__ import annotations

from typing import Literal

import msgspec


class Budget(msgspec.Struct, frozen=True):
    """What the child may spend; its first line."""

    pixels_count: int
    memory_bytes: int


class Decoded(msgspec.Struct, frozen=True):
    """Its verdict on one file. No text: what Pillow says of a file can name addresses of memory."""

    width: int = 0
    height: int = 0
    fault: Literal["", "pixels", "damaged"] = ""


encode = msgspec.json.encode
read_budget = msgspec.json.Decoder(Budget).decode
read_decoded = msgspec.json.Decoder(Decoded).decode
