"""What answers requests, and how."""
