"""A container's contract, kept by processes of this machine."""
