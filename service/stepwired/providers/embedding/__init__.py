"""Texts as vectors, whatever the wire."""
