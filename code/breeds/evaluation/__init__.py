"""How good a model is, and pictures of it."""
