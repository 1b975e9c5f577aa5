"""The library behind the entry points in `code/`: data, model, metrics and serving, importable in a bare container."""
