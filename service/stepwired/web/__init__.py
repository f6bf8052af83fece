"""The HTTP front: OpenAI's calls, the page, and a way for others to be served beside them."""
