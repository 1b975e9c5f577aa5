"""SageMaker's pipeline operations, through boto3 against a real server."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.waiting import ended

ROLE = "arn:aws:iam::123456789012:role/pipeline"
TRUE = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
PARAMETERS = [
    {"Name": "Text", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
    {"Name": "Count", "Type": "Integer", "DefaultValue": 3},
    {"Name": "Share", "Type": "Float", "DefaultValue": 0.5},
    {"Name": "Given", "Type": "Boolean"},
]


def gate(name, **members):
    return {"Name": name, "Type": "Condition", "Arguments": {"Conditions": [TRUE]}, **members}


def definition(*steps, parameters=()):
    return json.dumps({"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps) or [gate("Gate")]})


@pytest.fixture
def sagemaker(client):
    return client("sagemaker")


@pytest.fixture
def name(sagemaker):
    """A pipeline of one step that takes no time."""
    made = f"p-{uuid.uuid4().hex[:8]}"
    sagemaker.create_pipeline(PipelineName=made, PipelineDefinition=definition(), RoleArn=ROLE)
    return made


def wait(sagemaker, arn):
    return ended(lambda: sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn), "PipelineExecutionStatus")


def refused(call, code, said, **request):
    with pytest.raises(ClientError) as error:
        call(**request)
    assert error.value.response["Error"]["Code"] == code
    assert said in error.value.response["Error"]["Message"]


def test_a_pipeline_is_created_described_updated_listed_and_deleted(sagemaker):
    name = f"whole-{uuid.uuid4().hex[:8]}"
    request = {"PipelineName": name, "PipelineDefinition": definition(), "RoleArn": ROLE}
    arn = sagemaker.create_pipeline(**request, PipelineDescription="one", ClientRequestToken="t" * 32)["PipelineArn"]
    assert arn == f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{name}"
    described = sagemaker.describe_pipeline(PipelineName=name)
    assert described["PipelineDefinition"] == definition() and described["PipelineStatus"] == "Active"
    assert described["PipelineDescription"] == "one" and isinstance(described["CreationTime"], datetime)
    assert sagemaker.describe_pipeline(PipelineName=arn)["PipelineName"] == name

    assert sagemaker.create_pipeline(**request, ClientRequestToken="t" * 32)["PipelineArn"] == arn
    refused(sagemaker.create_pipeline, "ValidationException", f"Pipeline with name ({name}) already exists", **request)

    changed = definition(gate("Other"))
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=changed, PipelineDescription="two")
    described = sagemaker.describe_pipeline(PipelineName=name)
    assert described["PipelineDefinition"] == changed and described["PipelineDescription"] == "two"

    listed = sagemaker.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]
    assert [each["PipelineName"] for each in listed] == [name]
    assert sagemaker.delete_pipeline(PipelineName=name)["PipelineArn"] == arn
    for call in (sagemaker.describe_pipeline, sagemaker.update_pipeline, sagemaker.delete_pipeline):
        refused(call, "ResourceNotFound", f"Pipeline '{arn}' does not exist", PipelineName=name)


def test_a_definition_that_could_not_run_is_refused_at_create_and_at_update(sagemaker, name):
    batch = definition({"Name": "Batch", "Type": "Transform", "Arguments": {}})
    said = "Step Batch: Type: The embedded SageMaker does not run steps of type 'Transform'. It runs Condition, Fail"
    new = {"PipelineName": "never-made", "PipelineDefinition": batch, "RoleArn": ROLE}
    refused(sagemaker.create_pipeline, "ValidationException", said, **new)
    refused(sagemaker.describe_pipeline, "ResourceNotFound", "does not exist", PipelineName="never-made")
    refused(sagemaker.update_pipeline, "ValidationException", said, PipelineName=name, PipelineDefinition=batch)
    both = {"PipelineDefinition": definition(), "PipelineDefinitionS3Location": {"Bucket": "abc", "ObjectKey": "k"}}
    refused(sagemaker.update_pipeline, "ValidationException", "are both given", PipelineName=name, **both)
    refused(sagemaker.create_pipeline, "ValidationException", "Either", PipelineName="never-made", RoleArn=ROLE)


def test_a_definition_may_be_in_s3(sagemaker, client):
    s3, bucket = client("s3"), f"b-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="p.json", Body=definition().encode())
    request = {"PipelineName": f"s3-{uuid.uuid4().hex[:8]}", "RoleArn": ROLE}
    location = {"Bucket": bucket, "ObjectKey": "p.json"}
    sagemaker.create_pipeline(**request, PipelineDefinitionS3Location=location)
    assert sagemaker.describe_pipeline(PipelineName=request["PipelineName"])["PipelineDefinition"] == definition()
    location["ObjectKey"] = "none.json"
    request["PipelineName"] += "x"
    said = f"Cannot read the pipeline definition at s3://{bucket}/none.json"
    refused(sagemaker.create_pipeline, "ValidationException", said, **request, PipelineDefinitionS3Location=location)


def test_an_execution_is_described_listed_and_keeps_its_definition_and_parameters(sagemaker):
    name = f"run-{uuid.uuid4().hex[:8]}"
    text = definition(gate("First"), gate("Second", DependsOn=["First"], DisplayName="2nd"), parameters=PARAMETERS)
    pipeline = sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE)["PipelineArn"]
    given = [{"Name": "Given", "Value": "true"}, {"Name": "Count", "Value": "7"}]
    arn = sagemaker.start_pipeline_execution(
        PipelineName=name, PipelineParameters=given, PipelineExecutionDisplayName="try"
    )["PipelineExecutionArn"]
    identifier = arn.removeprefix(f"{pipeline}/execution/")
    assert len(identifier) == 12 and identifier.isalnum() and identifier == identifier.lower()

    execution = wait(sagemaker, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded" and "FailureReason" not in execution
    assert execution["PipelineExecutionDisplayName"] == "try" and execution["PipelineArn"] == pipeline
    assert not [member for member in execution if member.startswith("_")]

    sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=definition())
    kept = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert kept["PipelineDefinition"] == text
    values = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert {each["Name"]: each["Value"] for each in values} == {
        "Text": "a",
        "Count": "7",
        "Share": "0.5",
        "Given": "true",
    }

    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    assert [step["StepName"] for step in steps] == ["Second", "First"]
    assert steps[0]["StepDisplayName"] == "2nd" and steps[0]["Metadata"] == {"Condition": {"Outcome": "True"}}
    assert steps[0]["StartTime"] <= steps[0]["EndTime"]

    sagemaker.update_pipeline_execution(PipelineExecutionArn=arn, PipelineExecutionDescription="why")
    listed = sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    assert [each["PipelineExecutionArn"] for each in listed] == [arn]
    assert listed[0]["PipelineExecutionDescription"] == "why" and listed[0]["PipelineExecutionStatus"] == "Succeeded"
    assert sagemaker.describe_pipeline(PipelineName=name)["LastRunTime"] == execution["CreationTime"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "No value for parameters without a default: Given"),
        ({"Given": "true", "Count": "many"}, "Parameter Count: 'many' is not a valid Integer"),
        ({"Given": "perhaps"}, "Parameter Given: 'perhaps' is not a valid Boolean"),
        ({"Given": "true", "Text": "c"}, "Parameter Text: 'c' is not one of its EnumValues: a, b"),
        ({"Given": "true", "Colour": "red"}, "Parameter Colour is not in the pipeline definition"),
    ],
)
def test_a_start_with_wrong_parameters_is_refused_and_leaves_no_execution(sagemaker, given, said):
    name = f"typed-{uuid.uuid4().hex[:8]}"
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition(parameters=PARAMETERS), RoleArn=ROLE)
    values = [{"Name": key, "Value": value} for key, value in given.items()]
    start = sagemaker.start_pipeline_execution
    refused(start, "ValidationException", said, PipelineName=name, PipelineParameters=values)
    assert sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"] == []


def test_a_start_with_the_same_token_gives_the_same_execution(sagemaker, name):
    first, again = (
        sagemaker.start_pipeline_execution(PipelineName=name, ClientRequestToken="k" * 32)["PipelineExecutionArn"]
        for _ in range(2)
    )
    other = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    assert first == again != other
    assert len(sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]) == 2


def test_lists_come_in_pages_in_either_order_and_between_times(sagemaker):
    name = f"pages-{uuid.uuid4().hex[:8]}"
    steps = [gate(f"S{i}", **({"DependsOn": [f"S{i - 1}"]} if i else {})) for i in range(5)]
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition(*steps), RoleArn=ROLE)
    arns = [sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"] for _ in range(3)]
    for arn in arns:
        wait(sagemaker, arn)

    pages = sagemaker.get_paginator("list_pipeline_execution_steps")
    found = list(pages.paginate(PipelineExecutionArn=arns[0], SortOrder="Ascending", PaginationConfig={"PageSize": 2}))
    names = [[step["StepName"] for step in page["PipelineExecutionSteps"]] for page in found]
    assert names == [["S0", "S1"], ["S2", "S3"], ["S4"]]

    pages = sagemaker.get_paginator("list_pipeline_executions")
    found = list(pages.paginate(PipelineName=name, PaginationConfig={"PageSize": 2}))
    listed = [each["PipelineExecutionArn"] for page in found for each in page["PipelineExecutionSummaries"]]
    assert listed == arns[::-1] and len(found) == 2
    later = datetime.now(UTC) + timedelta(hours=1)
    assert not sagemaker.list_pipeline_executions(PipelineName=name, CreatedAfter=later)["PipelineExecutionSummaries"]

    both = sagemaker.list_pipelines(PipelineNamePrefix=name[:4], SortBy="Name", SortOrder="Ascending")
    names = [each["PipelineName"] for each in both["PipelineSummaries"]]
    assert names == sorted(names) and name in names


def test_operations_on_an_execution_that_does_not_exist_are_refused_by_its_arn(sagemaker, name):
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:pipeline/{name}/execution/abcdefabcdef"
    for call in (
        sagemaker.describe_pipeline_execution,
        sagemaker.list_pipeline_execution_steps,
        sagemaker.list_pipeline_parameters_for_execution,
        sagemaker.describe_pipeline_definition_for_execution,
        sagemaker.stop_pipeline_execution,
        sagemaker.retry_pipeline_execution,
        sagemaker.update_pipeline_execution,
    ):
        refused(call, "ResourceNotFound", f"Pipeline execution '{arn}' does not exist", PipelineExecutionArn=arn)
    refused(sagemaker.start_pipeline_execution, "ResourceNotFound", "does not exist", PipelineName="none")


def test_what_is_not_run_here_is_refused_by_name(sagemaker, name):
    selected = {"SelectedSteps": [{"StepName": "Gate"}]}
    start = sagemaker.start_pipeline_execution
    said = "SelectiveExecutionConfig is not run by the embedded SageMaker"
    refused(start, "ValidationException", said, PipelineName=name, SelectiveExecutionConfig=selected)


def test_deleting_a_pipeline_deletes_its_executions(sagemaker, name):
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    wait(sagemaker, arn)
    sagemaker.delete_pipeline(PipelineName=name)
    refused(sagemaker.describe_pipeline_execution, "ResourceNotFound", arn, PipelineExecutionArn=arn)


def test_the_events_of_an_execution_are_read_through_cloudwatch_logs(sagemaker, client, name):
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    wait(sagemaker, arn)
    stream = f"{arn.rpartition('/')[2]}/events"
    group = "/aws/sagemaker/PipelineExecutions"
    answer = client("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    lines = [json.loads(event["message"]) for event in answer["events"]]
    assert [(line["step"], line["event"]) for line in lines] == [("Gate", "started"), ("Gate", "succeeded")]
    assert lines[1]["detail"] == "True: 1 Equals 1"
