"""Trying again, and elsewhere."""
