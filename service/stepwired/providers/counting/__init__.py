"""Tokens, counted before they are sent."""
