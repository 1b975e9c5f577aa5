"""What everything else stands on: state, errors, who calls, and the registry of operations."""
