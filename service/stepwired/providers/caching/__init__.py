"""What need not be asked twice."""
