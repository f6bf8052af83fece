"""HTTP towards providers: sent, read, and bounded."""
