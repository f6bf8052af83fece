"""Between the wire and the service's own nouns: checks what comes in, all of it at once, and writes what goes out."""
