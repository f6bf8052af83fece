"""Measures what the service costs and how fast it stops: `python -m benchmarks`. Asserts nothing."""
