"""Models behind HTTP: endpoints, the wire formats they speak, and the catalogue that turns a name into a reply."""
