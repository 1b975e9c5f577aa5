"""A pipeline that is not ours: its own scripts, a diamond and a condition, started with plain boto3."""

import io
import json

import pytest

from tests.waiting import ended

BUCKET = "somebody"
ROLE = "arn:aws:iam::123456789012:role/somebody"
IMAGE = "python"

SCRIPTS = {
    "Numbers": """
import pathlib
pathlib.Path('/opt/ml/processing/output/n.txt').write_text('1 2 3 4')
""",
    "Sum": """
import pathlib
numbers = [int(n) for n in pathlib.Path('/opt/ml/processing/input/n.txt').read_text().split()]
pathlib.Path('/opt/ml/processing/output/sum.txt').write_text(str(sum(numbers)))
""",
    "Count": """
import pathlib
numbers = pathlib.Path('/opt/ml/processing/input/n.txt').read_text().split()
pathlib.Path('/opt/ml/processing/output/count.txt').write_text(str(len(numbers)))
""",
    "Mean": """
import json, pathlib, sys
total = int(pathlib.Path('/opt/ml/processing/sum/sum.txt').read_text())
count = int(pathlib.Path('/opt/ml/processing/count/count.txt').read_text())
mean = total / count * float(sys.argv[1])
pathlib.Path('/opt/ml/processing/output/report.json').write_text(json.dumps({'stats': [{'mean': mean}]}))
""",
    "Publish": "print('published')",
}


def step(name: str, inputs: dict, arguments: list | None = None, **envelope) -> dict:
    """A processing step that runs SCRIPTS[name]; inputs: path in the container -> S3 URI."""
    inputs = {**inputs, "/opt/ml/processing/code": f"s3://{BUCKET}/code/{name}.py"}
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", f"/opt/ml/processing/code/{name}.py"],
                **({"ContainerArguments": arguments} if arguments else {}),
            },
            "ProcessingInputs": [
                {
                    "InputName": path.rpartition("/")[2],
                    "S3Input": {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"},
                }
                for path, uri in inputs.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "out",
                        "S3Output": {
                            "S3Uri": {
                                "Std:Join": {
                                    "On": "/",
                                    "Values": [f"s3://{BUCKET}/runs", {"Get": "Execution.PipelineExecutionId"}, name],
                                }
                            },
                            "LocalPath": "/opt/ml/processing/output",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}
            },
        },
        **envelope,
    }


def output_of(name: str) -> dict:
    return {"Get": f"Steps.{name}.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"}


def diamond() -> dict:
    numbers = "/opt/ml/processing/input"
    measured = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Mean.PropertyFiles.report"}, "Path": "stats[0].mean"}}
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "Factor", "Type": "Float", "DefaultValue": 1.0},
            {"Name": "Limit", "Type": "Integer", "DefaultValue": 2},
        ],
        "Steps": [
            step("Numbers", {}),
            step("Sum", {numbers: output_of("Numbers")}),
            step("Count", {numbers: output_of("Numbers")}),
            step(
                "Mean",
                {"/opt/ml/processing/sum": output_of("Sum"), "/opt/ml/processing/count": output_of("Count")},
                arguments=[{"Std:Join": {"On": "", "Values": [{"Get": "Parameters.Factor"}]}}],
                PropertyFiles=[{"PropertyFileName": "report", "OutputName": "out", "FilePath": "report.json"}],
            ),
            {
                "Name": "BigEnough",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [
                        {"Type": "GreaterThan", "LeftValue": measured, "RightValue": {"Get": "Parameters.Limit"}}
                    ],
                    "IfSteps": [step("Publish", {})],
                    "ElseSteps": [
                        {
                            "Name": "TooSmall",
                            "Type": "Fail",
                            "Arguments": {
                                "ErrorMessage": {"Std:Join": {"On": " ", "Values": ["mean", measured, "is too small"]}}
                            },
                        }
                    ],
                },
            },
        ],
    }


@pytest.fixture(scope="module", autouse=True)
def pipeline(client):
    client("s3").create_bucket(Bucket=BUCKET)
    for name, script in SCRIPTS.items():
        client("s3").put_object(Bucket=BUCKET, Key=f"code/{name}.py", Body=script.encode())
    client("sagemaker").create_pipeline(
        PipelineName="theirs",
        PipelineDefinition=json.dumps(diamond()),
        RoleArn=ROLE,
        ClientRequestToken="t" * 32,
    )


def run(sagemaker, **parameters: str) -> tuple[str, dict[str, dict]]:
    """(the execution's status, its steps by name)."""
    arn = sagemaker.start_pipeline_execution(
        PipelineName="theirs", PipelineParameters=[{"Name": n, "Value": v} for n, v in parameters.items()]
    )["PipelineExecutionArn"]
    status = ended(lambda: sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn), "PipelineExecutionStatus")
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return status["PipelineExecutionStatus"], {entry["StepName"]: entry for entry in listed}


def test_a_diamond_with_a_condition_runs_to_its_end(client):
    status, steps = run(client("sagemaker"))
    assert status == "Succeeded", {name: entry.get("FailureReason") for name, entry in steps.items()}
    assert set(steps) == {"Numbers", "Sum", "Count", "Mean", "BigEnough", "Publish"}
    assert steps["BigEnough"]["Metadata"]["Condition"]["Outcome"] == "True"


def test_the_two_arms_of_the_diamond_begin_only_after_its_top(client):
    _, steps = run(client("sagemaker"))
    assert min(steps["Sum"]["StartTime"], steps["Count"]["StartTime"]) >= steps["Numbers"]["EndTime"]
    assert steps["Mean"]["StartTime"] >= max(steps["Sum"]["EndTime"], steps["Count"]["EndTime"])


def test_the_other_way_fails_with_the_number_in_the_message(client):
    status, steps = run(client("sagemaker"), Factor="0.5")
    assert status == "Failed"
    assert steps["TooSmall"]["FailureReason"] == "mean 1.25 is too small"
    assert "Publish" not in steps


def test_what_a_step_wrote_lies_in_s3(client):
    _, steps = run(client("sagemaker"))
    job = client("sagemaker").describe_processing_job(
        ProcessingJobName=steps["Mean"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    )
    key = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"].removeprefix(f"s3://{BUCKET}/")
    body = io.BytesIO(client("s3").get_object(Bucket=BUCKET, Key=f"{key}/report.json")["Body"].read())
    assert json.load(body) == {"stats": [{"mean": 2.5}]}


def test_a_step_type_that_cannot_run_is_refused_by_name(client):
    sagemaker = client("sagemaker")
    definition = {**diamond(), "Steps": [{"Name": "Spark", "Type": "EMR", "Arguments": {}}]}
    with pytest.raises(sagemaker.exceptions.ClientError, match="EMR"):
        sagemaker.create_pipeline(
            PipelineName="spark", PipelineDefinition=json.dumps(definition), RoleArn=ROLE, ClientRequestToken="u" * 32
        )
