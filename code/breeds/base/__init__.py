"""What every room uses: the container, ranks, metrics, optional libraries."""
