"""Each figure of the README comes from one script here: `make bench`, or `python -m benchmarks.<name>`."""
