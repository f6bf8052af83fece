"""Keeps conversations: what is acknowledged survives the end of the process and the loss of power."""
