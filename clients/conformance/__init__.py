"""The contract of `stepwire.v1`, asked of every language: `python -m clients.conformance`; see PROTOCOL.md."""
