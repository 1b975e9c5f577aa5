"""The pipeline definition and the commands that act on it."""
