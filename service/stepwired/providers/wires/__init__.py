"""The wire formats that providers speak."""
