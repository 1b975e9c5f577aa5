"""The SageMaker SDK, unmodified, against the embedded server: upsert, start, wait, list_steps."""

import boto3
import pytest

ROLE = "arn:aws:iam::123456789012:role/somebody"


@pytest.fixture
def session(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("SAGEMAKER_VALIDATE_ROLE", "false")
    from pipeline.definition import pipeline_session

    return pipeline_session(boto3.Session(region_name="us-east-1"))


def test_the_sdk_creates_starts_and_follows_a_pipeline(session):
    from sagemaker.core.processing import Processor
    from sagemaker.core.workflow.parameters import ParameterString
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import ProcessingStep

    word = ParameterString(name="Word", default_value="hello")
    processor = Processor(
        role=ROLE,
        image_uri="python",
        entrypoint=["python3", "-c", "import sys; print('said', sys.argv[1])"],
        instance_count=1,
        instance_type="ml.t3.medium",
        sagemaker_session=session,
    )
    pipeline = Pipeline(
        name="sdk",
        parameters=[word],
        steps=[ProcessingStep(name="Say", step_args=processor.run(arguments=[word]))],
        sagemaker_session=session,
    )
    pipeline.upsert(role_arn=ROLE)
    pipeline.upsert(role_arn=ROLE)
    execution = pipeline.start(parameters={"Word": "woof"})
    execution.wait(delay=1, max_attempts=60)
    steps = execution.list_steps()
    assert [(step["StepName"], step["StepStatus"]) for step in steps] == [("Say", "Succeeded")]

    logs = boto3.client("logs")
    job = steps[0]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    group = "/aws/sagemaker/ProcessingJobs"
    stream = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=job)["logStreams"][0]["logStreamName"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    assert [event["message"] for event in events] == ["said woof"]
