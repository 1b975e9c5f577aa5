"""Tensors that a training saves, the rules that judge them, and the report."""
