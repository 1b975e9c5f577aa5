"""From features to a packed model."""
