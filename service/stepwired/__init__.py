"""The server of Stepwire: language-model work as a gRPC service."""
