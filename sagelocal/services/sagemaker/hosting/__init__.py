"""Models, endpoint configurations, endpoints, and the processes that serve."""
