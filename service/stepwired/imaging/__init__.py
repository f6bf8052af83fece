"""Pictures that callers send, looked at where a bad one can do no harm: in a child process with little to spend."""
