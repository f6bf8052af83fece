"""What lies between a request and the models: tools that run on this server, and a second try at a format."""
