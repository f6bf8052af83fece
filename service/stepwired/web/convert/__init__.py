"""Requests as OpenAI writes them, in and out."""
