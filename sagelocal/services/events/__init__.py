"""EventBridge: rules that match events, and the delivery of what matches to their targets."""
