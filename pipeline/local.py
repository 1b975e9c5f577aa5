"""What a command that runs the pipeline needs first: an account that is set up."""

from pipeline import infra
from pipeline.cloud import Cloud


def set_up(cloud: Cloud) -> None:
    """Deploy infra/template.yaml where it is not deployed yet or has changed. Raises UserError."""
    infra.ensure(cloud)
