"""Starts servers and drivers, has each driver make the calls of each case, and compares what came back."""
