"""The steps of the pipeline, one module each, in the order of pipeline/definition.py."""
