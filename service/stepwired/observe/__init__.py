"""What the operator sees of the service: logs now, metrics and traces through the hooks that are there for them."""
