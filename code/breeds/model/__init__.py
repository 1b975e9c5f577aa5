"""Backbones, features, the classifier, and its faster forms."""
