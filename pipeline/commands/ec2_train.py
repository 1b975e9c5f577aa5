"""The same script, features and hyperparameters as in the pipeline, of the newest execution that succeeded."""

from typing import Annotated

import typer

from pipeline import ec2, parameters
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, tell


def main(
    hyperparameters: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Over the execution's.")
    ] = None,
    execution: Annotated[str | None, typer.Option(help="Whose data and hyperparameters; the newest success.")] = None,
    features: Annotated[str | None, typer.Option(help="s3:// prefix of features, in place of the execution's.")] = None,
    weights: Annotated[str | None, typer.Option(help="s3:// prefix of the backbone's weights.")] = None,
    prepared: Annotated[str | None, typer.Option(help="s3:// prefix of prepared photos, to train stages.")] = None,
    instance_type: Annotated[str, typer.Option(help="An EC2 instance type.")] = "g4dn.xlarge",
    spot: Annotated[bool, typer.Option("--spot/--on-demand", help="Cheaper, and AWS may take it back.")] = True,
    deadline_minutes: Annotated[float, typer.Option(help="The instance is gone by then.")] = 120,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the instance's user data.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    given = parameters.parse_assignments(hyperparameters or [])
    cloud = connect(aws=aws)
    inputs = ec2.inputs(
        cloud, arn=execution, features_uri=features, weights_uri=weights, prepared_uri=prepared, hyperparameters=given
    )
    answer = ec2.launch(
        cloud, **inputs, instance_type=instance_type, spot=spot, deadline_minutes=deadline_minutes, dry_run=dry_run
    )
    tell(answer, as_json, answer.get("user_data", ""))
