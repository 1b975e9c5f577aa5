"""EventBridge: patterns, what targets get, and the events that SageMaker sends of itself."""

import io
import json
import time
import zipfile

import pytest
from botocore.exceptions import ClientError

from sagelocal.services.events import inputs, patterns
from tests.waiting import until

ROLE = "arn:aws:iam::123456789012:role/events"
EVENT = {
    "id": "e-1",
    "time": "2026-11-23T14:00:00Z",
    "source": "aws.sagemaker",
    "detail-type": "SageMaker Model Package State Change",
    "resources": ["arn:one", "arn:two"],
    "detail": {"ModelApprovalStatus": "Approved", "Version": 3, "Done": True, "Tags": ["a", "b"], "Name": 'say "hi"'},
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"source": ["aws.sagemaker"]}, True),
        ({"source": ["aws.s3", "aws.sagemaker"]}, True),
        ({"source": ["aws.s3"]}, False),
        ({"source": ["aws.sagemaker"], "detail": {"ModelApprovalStatus": ["Rejected"]}}, False),
        ({"resources": ["arn:two"]}, True),
        ({"resources": [{"prefix": "arn:t"}]}, True),
        ({"detail": {"Tags": ["c"]}}, False),
        ({"detail": {"Version": [3]}}, True),
        ({"detail": {"Version": ["3"]}}, False),
        ({"detail": {"Version": [{"numeric": [">", 2, "<=", 3]}]}}, True),
        ({"detail": {"Version": [{"numeric": ["<", 3]}]}}, False),
        ({"detail": {"Done": [True]}}, True),
        ({"detail": {"Done": [1]}}, False),
        ({"detail": {"ModelApprovalStatus": [{"anything-but": ["Rejected"]}]}}, True),
        ({"detail": {"ModelApprovalStatus": [{"anything-but": "Approved"}]}}, False),
        ({"detail": {"ModelApprovalStatus": [{"anything-but": {"prefix": "App"}}]}}, False),
        ({"detail": {"Missing": [{"anything-but": "x"}]}}, False),
        ({"detail": {"Missing": [{"exists": False}]}}, True),
        ({"detail": {"Version": [{"exists": True}]}}, True),
        ({"detail": {"Missing": {"Deeper": [{"exists": False}]}}}, True),
        ({"detail": {"ModelApprovalStatus": [{"suffix": "oved"}]}}, True),
        ({"detail": {"ModelApprovalStatus": [{"equals-ignore-case": "APPROVED"}]}}, True),
        ({"detail": {"ModelApprovalStatus": [{"wildcard": "App*d"}]}}, True),
        ({"$or": [{"source": ["x"]}, {"detail": {"Version": [3]}}]}, True),
        ({"$or": [{"source": ["x"]}, {"source": ["y"]}]}, False),
    ],
)
def test_a_pattern_matches_as_eventbridge_does(pattern: dict, expected: bool):
    assert patterns.matches(patterns.parse(json.dumps(pattern)), EVENT) is expected


@pytest.mark.parametrize(
    "pattern",
    ["no json", "{}", "[]", '{"source": "aws.s3"}', '{"source": []}', '{"a": [{"cidr": "10.0.0.0/8"}]}',
     '{"a": [{"numeric": ["~", 1]}]}', '{"a": [{"prefix": 3}]}', '{"$or": [{"a": ["b"]}]}', '{"a": [[1]]}'],
)  # fmt: skip
def test_a_pattern_that_means_nothing_is_refused(pattern: str):
    with pytest.raises(patterns.InvalidEventPatternException):
        patterns.parse(pattern)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"Input": '{"a": 1}'}, {"a": 1}),
        ({"InputPath": "$.detail.Tags[1]"}, "b"),
        ({"InputPath": "$.detail.Missing"}, None),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"v": "$.detail.Version", "n": "$.detail.Name", "t": "$.detail.Tags"},
                    "InputTemplate": '{"version": <v>, "name": <n>, "said": "<n> v<v>", "tags": <t>, "x": "<unknown>"}',
                }
            },
            {"version": 3, "name": 'say "hi"', "said": 'say "hi" v3', "tags": ["a", "b"], "x": "<unknown>"},
        ),
        (
            {
                "InputTransformer": {
                    "InputTemplate": '"rule <aws.events.rule-name> at <aws.events.event.ingestion-time>"'
                }
            },
            "rule mine at 2026-11-23T14:00:00Z",
        ),
        ({}, EVENT),
    ],
)
def test_a_target_gets_the_part_of_the_event_that_it_asks_for(target: dict, expected):
    assert json.loads(inputs.payload(target, EVENT, "arn:aws:events:us-east-1:1:rule/mine")) == expected


@pytest.fixture
def rule(client):
    """Make a rule with targets; it is removed after the test."""
    events = client("events")
    made = []

    def make(name: str, pattern: dict, **target) -> None:
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        made.append(name)
        events.put_targets(Rule=name, Targets=[{"Id": "only", **target}])

    yield make
    for name in made:
        events.remove_targets(Rule=name, Ids=["only"])
        events.delete_rule(Name=name)


@pytest.fixture
def queue(client):
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=f"queue-{time.time_ns()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def receive(count: int = 1) -> list[dict]:
        got: list[dict] = []

        def more() -> int:
            for message in sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages", []):
                got.append(message)
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(got)

        until(more, lambda number: number >= count)
        return got

    return arn, receive


def put(client, **detail) -> dict:
    entry = {"Source": "tests", "DetailType": "Thing", "Detail": json.dumps(detail)}
    return client("events").put_events(Entries=[entry])


def test_an_event_reaches_the_queue_of_the_rule_that_it_matches(client, rule, queue):
    arn, receive = queue
    rule("things", {"source": ["tests"], "detail": {"n": [{"numeric": [">", 1]}]}}, Arn=arn)
    assert put(client, n=1)["FailedEntryCount"] == 0
    sent = put(client, n=2)["Entries"][0]["EventId"]
    event = json.loads(receive()[0]["Body"])
    assert event["id"] == sent and event["detail"] == {"n": 2} and event["account"] == "123456789012"


def test_a_disabled_rule_delivers_nothing(client, rule, queue):
    arn, receive = queue
    rule("off", {"source": ["tests"]}, Arn=arn)
    client("events").disable_rule(Name="off")
    put(client, n=1)
    client("events").enable_rule(Name="off")
    put(client, n=2)
    assert [json.loads(message["Body"])["detail"] for message in receive()] == [{"n": 2}]


def test_an_event_reaches_the_subscribers_of_a_topic(client, rule, queue):
    arn, receive = queue
    sns = client("sns")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    rule("to-topic", {"source": ["tests"]}, Arn=topic, InputPath="$.detail.text")
    put(client, text="it failed")
    assert json.loads(json.loads(receive()[0]["Body"])["Message"]) == "it failed"


def test_an_approved_model_package_calls_a_function_with_its_arn(client, rule, queue):
    arn, receive = queue
    code = (
        "import boto3, json\n"
        "def handler(event, context):\n"
        "    sqs = boto3.client('sqs')\n"
        f"    url = sqs.get_queue_url(QueueName='{arn.rpartition(':')[2]}')['QueueUrl']\n"
        "    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))\n"
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("handler.py", code)
    function = client("lambda").create_function(
        FunctionName="on-approval",
        Runtime="python3.12",
        Handler="handler.handler",
        Role=ROLE,
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    rule(
        "approved",
        {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Package State Change"],
            "detail": {"ModelPackageGroupName": ["dogs"], "ModelApprovalStatus": ["Approved"]},
        },
        Arn=function,
        InputTransformer={
            "InputPathsMap": {"arn": "$.detail.ModelPackageArn"},
            "InputTemplate": '{"model_package_arn": <arn>}',
        },
    )
    sagemaker = client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="dogs")
    package = sagemaker.create_model_package(ModelPackageGroupName="dogs")["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    assert json.loads(receive()[0]["Body"]) == {"model_package_arn": package}


def definition(reason: str) -> str:
    return json.dumps({"Steps": [{"Name": "Give-up", "Type": "Fail", "Arguments": {"ErrorMessage": reason}}]})


def start(client, name: str) -> str:
    sagemaker = client("sagemaker")
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition("on purpose"), RoleArn=ROLE)
    return sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]


def test_a_failed_execution_is_told_with_awss_members(client, rule, queue):
    arn, receive = queue
    rule(
        "failures",
        {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Building Pipeline Execution Status Change"],
            "detail": {"currentPipelineExecutionStatus": ["Failed"]},
        },
        Arn=arn,
    )
    execution = start(client, "doomed")
    event = json.loads(receive()[0]["Body"])
    assert event["resources"] == [execution.partition("/execution/")[0], execution]
    detail = event["detail"]
    assert detail["pipelineExecutionArn"] == execution
    assert detail["previousPipelineExecutionStatus"] == "Executing"
    assert set(detail) == {
        "pipelineExecutionDisplayName", "currentPipelineExecutionStatus", "previousPipelineExecutionStatus",
        "executionStartTime", "executionEndTime", "pipelineArn", "pipelineExecutionArn",
    }  # fmt: skip


def test_each_change_of_a_step_is_told(client, rule, queue):
    arn, receive = queue
    kind = "SageMaker Model Building Pipeline Execution Step Status Change"
    rule("steps", {"detail-type": [kind]}, Arn=arn)
    execution = start(client, "stepping")
    details = [json.loads(message["Body"])["detail"] for message in receive(3)]
    assert {detail["pipelineExecutionArn"] for detail in details} == {execution}
    last = next(detail for detail in details if detail["currentStepStatus"] == "Failed")
    assert last["stepName"] == "Give-up" and last["stepType"] == "Fail" and "stepEndTime" in last


def test_a_rule_starts_a_pipeline_with_values_from_the_event(client, rule):
    sagemaker = client("sagemaker")
    step = {
        "Name": "Check",
        "Type": "Condition",
        "Arguments": {"Conditions": [{"Type": "Equals", "LeftValue": {"Get": "Parameters.Key"}, "RightValue": "k"}]},
    }
    parameters = [{"Name": "Key", "Type": "String"}]
    arn = sagemaker.create_pipeline(
        PipelineName="retrain",
        PipelineDefinition=json.dumps({"Parameters": parameters, "Steps": [step]}),
        RoleArn=ROLE,
    )["PipelineArn"]
    given = {"PipelineParameterList": [{"Name": "Key", "Value": "$.detail.object.key"}]}
    rule("new-data", {"source": ["tests"]}, Arn=arn, RoleArn=ROLE, SageMakerPipelineParameters=given)
    put(client, object={"key": "raw/new.zip"})
    found = until(lambda: sagemaker.list_pipeline_executions(PipelineName="retrain")["PipelineExecutionSummaries"])
    values = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=found[0]["PipelineExecutionArn"])
    assert values["PipelineParameters"] == [{"Name": "Key", "Value": "raw/new.zip"}]


def test_what_no_target_takes_goes_to_the_dead_letter_queue(client, rule, queue):
    arn, receive = queue
    gone = "arn:aws:lambda:us-east-1:123456789012:function:gone"
    rule("lost", {"source": ["tests"]}, Arn=gone, DeadLetterConfig={"Arn": arn})
    put(client, n=7)
    message = receive()[0]
    assert json.loads(message["Body"])["detail"] == {"n": 7}
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "ResourceNotFoundException"
    assert message["MessageAttributes"]["RULE_ARN"]["StringValue"].endswith("rule/lost")


def test_training_and_endpoint_events_have_the_describe_answer_with_milliseconds():
    from sagelocal.services.events.state_events import of_change

    job = {"TrainingJobName": "t", "TrainingJobArn": "arn:t", "TrainingJobStatus": "Completed", "CreationTime": 1.5}
    job |= {"SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": 2.0}], "_Host": 1}
    event = of_change("training-job", {"TrainingJobStatus": "InProgress"}, job)
    assert event.detail_type == "SageMaker Training Job State Change" and event.resources == ("arn:t",)
    assert event.detail["CreationTime"] == 1500 and "_Host" not in event.detail
    assert event.detail["SecondaryStatusTransitions"][0]["StartTime"] == 2000
    endpoint = {"EndpointName": "e", "EndpointArn": "arn:e", "EndpointStatus": "InService", "CreationTime": 1.0}
    assert of_change("endpoint", None, endpoint).detail["EndpointStatus"] == "IN_SERVICE"
    assert of_change("endpoint", endpoint, {**endpoint, "LastModifiedTime": 3.0}) is None
    assert of_change("endpoint", endpoint, None) is None


def test_rules_are_kept_and_refused_as_aws_does(client):
    events = client("events")
    events.put_rule(Name="kept", EventPattern='{"source": ["a"]}', Description="first")
    events.put_targets(Rule="kept", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:123456789012:q"}])
    events.put_rule(Name="kept", EventPattern='{"source": ["b"]}')
    described = events.describe_rule(Name="kept")
    assert described["EventPattern"] == '{"source": ["b"]}' and "Description" not in described
    assert [t["Id"] for t in events.list_targets_by_rule(Rule="kept")["Targets"]] == ["1"]
    with pytest.raises(ClientError, match="has targets"):
        events.delete_rule(Name="kept")
    events.remove_targets(Rule="kept", Ids=["1"])
    events.delete_rule(Name="kept")
    with pytest.raises(events.exceptions.ResourceNotFoundException):
        events.describe_rule(Name="kept")
    with pytest.raises(events.exceptions.InvalidEventPatternException):
        events.put_rule(Name="bad", EventPattern='{"source": "a"}')


def test_a_malformed_event_is_refused_entry_by_entry(client):
    entries = [
        {"Source": "s", "DetailType": "d", "Detail": "no json"},
        {"Source": "aws.s3", "DetailType": "d", "Detail": "{}"},
        {"Source": "s", "DetailType": "d", "Detail": "{}"},
    ]
    answer = client("events").put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 2
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [
        "MalformedDetail",
        "NotAuthorizedForSource",
        None,
    ]


def test_a_bucket_tells_of_new_objects_however_they_are_made_once_it_sends_events(client, rule, queue):
    s3 = client("s3")
    arn, receive = queue
    for bucket in ("silent", "telling"):
        s3.create_bucket(Bucket=bucket)
    bridge = {"EventBridgeConfiguration": {}}
    s3.put_bucket_notification_configuration(Bucket="telling", NotificationConfiguration=bridge)
    rule("objects", {"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": "raw/"}]}}}, Arn=arn)

    s3.put_object(Bucket="silent", Key="raw/a", Body=b"photo")
    s3.put_object(Bucket="telling", Key="other/a", Body=b"photo")
    etag = s3.put_object(Bucket="telling", Key="raw/ü a", Body=b"photo")["ETag"]
    event = json.loads(receive()[0]["Body"])
    assert event["detail-type"] == "Object Created"
    assert event["resources"] == ["arn:aws:s3:::telling"]
    assert event["detail"]["bucket"] == {"name": "telling"}
    assert {name: event["detail"]["object"][name] for name in ("key", "size", "etag")} == {
        "key": "raw/ü a",
        "size": 5,
        "etag": etag.strip('"'),
    }
    assert event["detail"]["reason"] == "PutObject"

    s3.copy_object(Bucket="telling", Key="raw/b", CopySource={"Bucket": "silent", "Key": "raw/a"})
    event = json.loads(receive()[0]["Body"])
    assert (event["detail"]["object"]["key"], event["detail"]["reason"]) == ("raw/b", "CopyObject")

    upload = {"Bucket": "telling", "Key": "raw/c"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    part = {"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"photo")["ETag"]}
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})
    event = json.loads(receive()[0]["Body"])
    assert (event["detail"]["object"]["key"], event["detail"]["reason"]) == ("raw/c", "CompleteMultipartUpload")
