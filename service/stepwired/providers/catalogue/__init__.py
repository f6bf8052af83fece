"""Which models there are, where, and what they can do."""
