"""The services over Connect and gRPC-Web, for browsers and for whoever has nothing but HTTP/1.1."""
