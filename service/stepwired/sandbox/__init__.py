"""JavaScript that callers send, run where it can do no harm: in a child process with little to spend."""
