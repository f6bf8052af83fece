"""A server without models: what is tested here is the store behind it."""

from __future__ import annotations

SETTINGS = """
[local]
enabled = false
[endpoints.none]
base_url = "http://127.0.0.1:9/v1"
[models.none]
endpoint = "none"
"""
