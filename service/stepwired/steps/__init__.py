"""Steps: an asynchronous list monad. One value in, zero or more results out over time, cancellable throughout.

Knows no transport and no provider: models are functions that it is given.
"""
