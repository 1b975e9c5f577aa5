"""The commands about an account: what it has, what it costs, what runs by itself, and how all of it goes away."""

import json
import sys
from typing import Annotated

import typer

from pipeline.cli_options import AwsOption, JsonOption, Parameters, connect, tell

app = typer.Typer()

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("deploy-infra")
def deploy_infra(
    parameters: Annotated[
        list[str] | None, typer.Argument(help="Parameters of infra/template.yaml as Name=value.")
    ] = None,
    yes: YesOption = False,
    aws: Annotated[bool, typer.Option("--aws/--embedded")] = True,
    as_json: JsonOption = False,
) -> None:
    """Deploy infra/template.yaml: bucket, roles, functions, rules, schedule. Shows the changes and asks."""
    from pipeline import infra, infra_console
    from pipeline import parameters as assignments

    given = assignments.parse_assignments(parameters or [])
    cloud = connect(aws)
    change = infra.deploy(
        cloud, given, confirm=infra_console.confirm(yes=yes), watch=infra_console.watch(quiet=as_json)
    )
    name = infra.stack_name(cloud.settings)
    tell({"stack": name, "change": change}, as_json, f"Stack {name}: {change}")


@app.command()
def destroy(
    yes: YesOption = False,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Leave the bucket, its key and the jobs.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete everything that this project made. Lists it first and asks."""
    from pipeline import destroy as destruction

    answer = destruction.run(connect(aws), yes=yes, keep_data=keep_data, quiet=as_json)
    done = "Deleted." if answer["deleted"] else "Nothing was deleted."
    tell(answer, as_json, done if answer["found"] else "There is nothing of this project here.")


@app.command()
def cost(
    execution: Annotated[str | None, typer.Argument(help="Execution id or ARN: what it did cost.")] = None,
    images: Annotated[int, typer.Option(help="Photos in the data set.")] = 8351,
    parameters: Annotated[list[str] | None, typer.Option("-p", help="A pipeline parameter as Name=value.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Renew prices.json from AWS's Pricing API first.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """What an execution will cost, at most and as expected; with an execution (or `latest`), what it did cost."""
    from pipeline import cost as costs
    from pipeline import execution as executions
    from pipeline import parameters as pipeline_parameters
    from pipeline import prices, settings

    values = pipeline_parameters.check(pipeline_parameters.parse_assignments(parameters or []))
    if refresh:
        prices.refresh(connect(aws))
    if execution:
        cloud = connect(aws)
        found = costs.actual(cloud, executions.resolve(cloud, None if execution == "latest" else execution))
    else:
        found = costs.for_pipeline(settings.from_environment(), values, images=images)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        (costs.show_actual if execution else costs.show_estimate)(found)


@app.command()
def schedule(
    cron: Annotated[str, typer.Argument(help="cron(0 3 ? * MON *), rate(7 days) or at(2027-01-01T00:00:00).")],
    parameters: Parameters = None,
    timezone: Annotated[str, typer.Option(help="IANA time zone of the expression.")] = "UTC",
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start the pipeline by itself at an expression's times, with parameters; prints the next five runs."""
    from pipeline import parameters as pipeline_parameters
    from pipeline import schedule as schedules

    values = pipeline_parameters.check(pipeline_parameters.parse_assignments(parameters or []))
    schedules.next_runs(cron, timezone)
    found = schedules.schedule(connect(aws), cron, timezone, values)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        schedules.show(found)


@app.command()
def unschedule(aws: AwsOption = False, as_json: JsonOption = False) -> None:
    """Switch the schedule off."""
    from pipeline import schedule as schedules

    found = schedules.unschedule(connect(aws))
    tell(found, as_json, f"Schedule {found['schedule']}: {found['change']}.")


@app.command()
def doctor(parameters: Parameters = None, aws: AwsOption = False, as_json: JsonOption = False) -> None:
    """Whether this account can run the pipeline with these parameters: pass, warn, fail, and the fix for each."""
    from pipeline import doctor as doctors
    from pipeline import parameters as pipeline_parameters

    values = pipeline_parameters.check(pipeline_parameters.parse_assignments(parameters or []))
    findings = doctors.examine(lambda: connect(aws), values)
    if as_json:
        typer.echo(json.dumps(doctors.as_data(findings)))
    else:
        doctors.show(findings)
    sys.exit(0 if doctors.healthy(findings) else 1)


@app.command()
def idle(
    hours: Annotated[float, typer.Option(help="Without invocations for so long.")] = 24,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """The project's endpoints: which nobody asks, and what each costs a month."""
    from pipeline import idle as idles

    found = idles.idle(connect(aws), hours)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        idles.show(found, hours)


@app.command("ec2-train")
def ec2_train(
    hyperparameters: Annotated[list[str] | None, typer.Argument(help="name=value, over the execution's.")] = None,
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
    """Train on one EC2 instance that terminates itself: the same script, features and hyperparameters."""
    from pipeline import ec2
    from pipeline import parameters as pipeline_parameters

    given = pipeline_parameters.parse_assignments(hyperparameters or [])
    cloud = connect(aws)
    inputs = ec2.inputs(
        cloud,
        arn=execution,
        features_uri=features,
        weights_uri=weights,
        prepared_uri=prepared,
        hyperparameters=given,
    )
    answer = ec2.launch(
        cloud,
        **inputs,
        instance_type=instance_type,
        spot=spot,
        deadline_minutes=deadline_minutes,
        dry_run=dry_run,
    )
    tell(answer, as_json, answer.get("user_data", ""))
