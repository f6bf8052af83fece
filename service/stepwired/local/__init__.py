"""Models that run on this machine: fetching them, serving each in a child process, and keeping that process alive."""
