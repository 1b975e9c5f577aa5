"""`python -m pipeline <command>`. Thin: each command reads its words, calls one module, prints.

SDK, boto3 and the rest are imported inside the commands, so that --help answers at once.
"""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pipeline.cli_account import app as account_app
from pipeline.cli_load_test import app as load_test_app
from pipeline.cli_options import AwsOption, Execution, JsonOption, Parameters, connect, tell
from pipeline.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Pawline: photos in, classifier out.",
)


@app.command()
def definition() -> None:
    """Print the pipeline's JSON document. Needs no credentials and no network."""
    typer.echo(_definition(None))


@app.command("lint")
def lint_definition(
    file: Annotated[Path | None, typer.Argument(help="A definition's JSON; our own when left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a pipeline definition against AWS's own service model. Needs no credentials and no network."""
    from dataclasses import asdict

    from pipeline import rules
    from sagelocal.definition import errors, lint, render

    extra = rules.RULES if file is None else [rules.as_advice(rule) for rule in rules.RULES]
    findings = lint(_definition(file), extra=extra)
    tell({"findings": [asdict(finding) for finding in findings]}, as_json, render(findings))
    sys.exit(1 if errors(findings) else 0)


@app.command("sample-data")
def sample_data(
    folder: Annotated[Path, typer.Argument(help="Where to write sample-dogs.zip.")] = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Draw a small picture set (deterministic, a few broken files among them)."""
    from pipeline.sample_data import draw_sample_data

    path = draw_sample_data(folder)
    tell({"path": str(path)}, as_json, f"{path} ({path.stat().st_size:,} bytes)")


@app.command()
def upload(
    data: Annotated[str | None, typer.Option(help="Zip, tar or folder: a path, https:// or s3://.")] = None,
    weights: Annotated[str | None, typer.Option(help="State dict, `imagenet`, `random`, or s3://.")] = None,
    backbone: Annotated[str, typer.Option(help="Which network `imagenet` weights are for.")] = "resnet50",
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put photos, weights and the code bundle into S3, under content-addressed keys."""
    cloud = connect(aws)
    tell(_upload(cloud, data, weights, backbone), as_json)


@app.command()
def upsert(aws: Annotated[bool, typer.Option("--aws/--embedded")] = True, as_json: JsonOption = False) -> None:
    """Create the pipeline in an account, or update it; unchanged says so. Into your AWS account unless --embedded."""
    from pipeline.upsert import upsert as do_upsert

    cloud = connect(aws)
    _upload(cloud, None, None, "")
    done = do_upsert(cloud)
    answer = {"pipeline_arn": done.arn, "change": done.change, "diff": done.diff}
    tell(answer, as_json, "\n".join([*done.diff, f"{done.arn}: {done.change}"]))


@app.command()
def start(
    parameters: Parameters = None, aws: AwsOption = False, follow: bool = False, as_json: JsonOption = False
) -> None:
    """Start an execution with parameters: python -m pipeline start Epochs=3 MaxTuningJobs=4."""
    from pipeline import execution
    from pipeline import parameters as pipeline_parameters

    values = pipeline_parameters.check(pipeline_parameters.parse_assignments(parameters or []))
    cloud = connect(aws)
    began = time.monotonic()
    arn = execution.start(cloud, values)
    if follow:
        _follow(cloud, arn, began, as_json)
    else:
        tell({"execution_arn": arn}, as_json, f"Started {arn}\nFollow it:  python -m pipeline status --follow")


@app.command()
def run(
    data: Annotated[str, typer.Option(help="Zip, tar or folder of photos; drawn pictures when left out.")] = "",
    weights: Annotated[str, typer.Option(help="Backbone weights: a path, `imagenet`, or `random`.")] = "",
    backbone: Annotated[str, typer.Option(help="resnet50, resnet18 or mobilenet_v2.")] = "",
    parameters: Parameters = None,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """The main job: upload, upsert, start, follow, predict."""
    from pipeline.run import run as do_run

    report = do_run(data, weights, backbone, parameters or [], connect=lambda: connect(aws), quiet=as_json)
    if as_json:
        typer.echo(json.dumps(report))
    sys.exit(0 if report["status"] == "Succeeded" else 1)


@app.command()
def status(
    execution: Execution = None, follow: bool = False, aws: AwsOption = False, as_json: JsonOption = False
) -> None:
    """Where the steps of an execution stand."""
    from pipeline import console
    from pipeline import execution as executions

    cloud = connect(aws)
    began = time.monotonic()
    arn = executions.resolve(cloud, execution)
    if follow:
        _follow(cloud, arn, began, as_json)
        return
    state = executions.describe(cloud, arn)["PipelineExecutionStatus"]
    if as_json:
        typer.echo(json.dumps(executions.report(cloud, arn, began=began)))
    else:
        console.console.print(f"{arn}: {state}")
        steps = executions.steps(cloud, arn)
        console.console.print(console.table(steps, console.details(cloud, arn, steps)))


@app.command()
def logs(
    step: Annotated[str, typer.Argument(help="A step's name, for instance Train.")],
    execution: Execution = None,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """What a step's jobs printed."""
    from pipeline import execution as executions

    cloud = connect(aws)
    arn = executions.resolve(cloud, execution)
    executions.describe(cloud, arn)
    found = {entry.name: entry for entry in executions.steps(cloud, arn)}
    if step not in found:
        raise UserError(f"The execution has no step {step} that began.", f"It has: {', '.join(found) or 'none yet'}.")
    lines = executions.log_lines(cloud, found[step])
    tell({"step": step, "lines": lines}, as_json, "\n".join(lines) or f"{step} wrote no log.")


@app.command()
def debug(
    execution: Execution = None,
    opened: Annotated[bool, typer.Option("--open", help="Fetch the report too, and open it in the browser.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """What the Debugger rules said of an execution's training."""
    from pipeline import console
    from pipeline import debug as debugger
    from pipeline import execution as executions

    cloud = connect(aws)
    arn = executions.resolve(cloud, execution)
    said = debugger.verdict(cloud, arn)
    page = debugger.report(cloud, arn) if opened else None
    if as_json:
        tell({"execution_arn": arn, **said, **({"report": str(page)} if page else {})}, as_json)
    else:
        console.stdout().print(debugger.table(said))
        tell({}, as_json, f"{said['verdict']}, {said['blocking']} blocking." + (f"\n{page}" if page else ""))
    if page and not as_json:
        debugger.show(page)


@app.command()
def stop(
    execution: Execution = None,
    server: Annotated[bool, typer.Option("--server", help="Stop the embedded server itself.")] = False,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Stop an execution, or (--server) the embedded SageMaker of this folder."""
    from pipeline import cloud as clouds
    from pipeline import execution as executions

    if server:
        from sagelocal.core import lifecycle

        stopped = lifecycle.stop(clouds.state_dir())
        tell({"stopped": stopped}, as_json, "Stopped." if stopped else "No embedded SageMaker runs here.")
        return
    cloud = connect(aws)
    arn = executions.resolve(cloud, execution)
    executions.describe(cloud, arn)
    cloud.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=_token())
    tell({"execution_arn": arn}, as_json, f"Stopping {arn}")


@app.command()
def retry(execution: Execution = None, aws: AwsOption = False, as_json: JsonOption = False) -> None:
    """Go on with a failed or stopped execution from the step that failed; finished steps are kept."""
    from pipeline import execution as executions

    cloud = connect(aws)
    began = time.monotonic()
    arn = executions.resolve(cloud, execution)
    state = executions.describe(cloud, arn)["PipelineExecutionStatus"]
    if state not in ("Failed", "Stopped"):
        raise UserError(
            f"The execution is {state}: there is nothing to retry.", "Start another: python -m pipeline start."
        )
    cloud.client("sagemaker").retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=_token())
    _follow(cloud, arn, began, as_json)


@app.command()
def predict(
    file: Annotated[Path | None, typer.Option(help="A photo on disk.")] = None,
    url: Annotated[str | None, typer.Option(help="A photo on the web (https).")] = None,
    aws: AwsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the predict function which breed a photo shows."""
    from pipeline import predict as predictions

    if (file is None) == (url is None):
        raise UserError("Give one photo: a file or a URL.", "make predict FILE=dog.jpg, or make predict URL=https://…")
    cloud = connect(aws)
    answer = predictions.of_file(cloud, file) if file else predictions.of_url(cloud, url or "")
    lines = [f"{p['probability']:7.1%}  {p['breed']}" for p in answer["predictions"]]
    tell(answer, as_json, "\n".join(lines))


app.add_typer(account_app)
app.add_typer(load_test_app)


def main() -> None:
    """Run a command; what the user can mend ends with a message and code 2, never with a traceback."""
    try:
        app()
    except UserError as error:
        fail(error.headline, error.way_out)
    except Exception as error:
        # By name: importing botocore here would slow down --help.
        kinds = {base.__name__ for base in type(error).__mro__ if base.__module__ == "botocore.exceptions"}
        if not kinds:
            raise
        if kinds & {"ConnectionError", "HTTPClientError"}:
            fail(f"SageMaker does not answer any more: {error}", "Go on from there: python -m pipeline retry.")
        fail(f"AWS refused: {error}", "Check the name, the permissions of who you are, and AWS_ENDPOINT_URL.")


def fail(headline: str, way_out: str) -> NoReturn:
    """Say what is wrong and what to do, and end with code 2."""
    typer.secho(headline, fg="red", err=True, bold=True)
    if way_out:
        typer.echo(way_out, err=True)
    sys.exit(2)


def _definition(file: Path | None) -> str:
    """The text of a definition file, or our own definition."""
    if file is None:
        from pipeline import definition as document
        from pipeline import settings

        return document.definition(settings.from_environment())
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}.", "Give the path of a definition in JSON.") from None


def _upload(cloud: Any, data: str | None, weights: str | None, backbone: str) -> dict[str, str]:
    from pipeline import console
    from pipeline import upload as uploads

    s3, settings = cloud.client("s3"), cloud.settings
    with console.upload_progress() as progress:
        uris = {"code_uri": uploads.upload_code(s3, settings)}
        if data:
            uris["input_data_uri"] = uploads.upload_data(s3, settings, data, progress)
        if weights:
            uris["weights_uri"] = uploads.upload_weights(s3, settings, weights, backbone, progress)
    return uris


def _follow(cloud: Any, arn: str, began: float, as_json: bool) -> None:
    from pipeline import console
    from pipeline import execution as executions

    steps = console.follow(cloud, arn, quiet=as_json)
    report = executions.report(cloud, arn, began=began)
    if as_json:
        typer.echo(json.dumps(report))
    elif report["status"] == "Succeeded":
        console.summary(report)
    else:
        console.failure(cloud, arn, steps)
    sys.exit(0 if report["status"] == "Succeeded" else 1)


def _token() -> str:
    import uuid

    return uuid.uuid4().hex * 2
