"""OpenAI's wire, which many servers speak."""
