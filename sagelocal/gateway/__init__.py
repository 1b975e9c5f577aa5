"""The one way in: from a socket to the operation of a service, and back."""
