"""Runs a pipeline definition: what AWS's pipeline service does with the JSON document that CreatePipeline was given."""
