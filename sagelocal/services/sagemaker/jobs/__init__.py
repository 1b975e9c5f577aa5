"""Processing, training and tuning jobs."""
