"""From bytes of a reply to its events, whatever the wire."""
