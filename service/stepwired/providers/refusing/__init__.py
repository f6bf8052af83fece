"""What providers say when they refuse."""
