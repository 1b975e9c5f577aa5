"""Stacks through boto3: change sets, updates, replacements, rollbacks, deletion, and a server that is killed."""

import io
import json
import zipfile

import pytest
from botocore.exceptions import ClientError, WaiterError

from sagelocal.core import registry
from sagelocal.services.cloudformation import deploy, stacks

FAST = {"Delay": 1, "MaxAttempts": 20}
LAMBDA_MAY = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUST = {"Version": "2012-10-17", "Statement": [LAMBDA_MAY]}
BUCKET = """
Parameters: {Name: {Type: String}, Days: {Type: Number, Default: 7}}
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !Ref Name
      LifecycleConfiguration: {Rules: [{Id: old, Status: Enabled, Prefix: tmp/, ExpirationInDays: !Ref Days}]}
Outputs: {Arn: {Value: !GetAtt Bucket.Arn}}
"""
FUNCTION = """
Parameters: {Release: {Type: String}, Bucket: {Type: String}}
Resources:
  Role: {Type: AWS::IAM::Role, Properties: {RoleName: fn, AssumeRolePolicyDocument: TRUST}}
  Function:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: fn
      Description: !Ref Release
      Runtime: python3.12
      Handler: m.handle
      Code: {S3Bucket: !Ref Bucket, S3Key: fn.zip}
      Role: !GetAtt Role.Arn
      ReservedConcurrentExecutions: "2"
  Version: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Function, Description: !Ref Release}}
  Alias:
    Type: AWS::Lambda::Alias
    Properties: {FunctionName: !Ref Function, Name: live, FunctionVersion: !GetAtt Version.Version}
""".replace("TRUST", json.dumps(TRUST))


@pytest.fixture
def cloudformation(client):
    made = client("cloudformation")
    yield made
    for stack in made.describe_stacks()["Stacks"]:
        made.delete_stack(StackName=stack["StackName"])
        made.get_waiter("stack_delete_complete").wait(StackName=stack["StackName"], WaiterConfig=FAST)


def key_values(**values: str) -> list[dict]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


def create(cloudformation, name: str, template: str, **values: str) -> None:
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=template,
        Parameters=key_values(**values),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=FAST)


def change_set(cloudformation, name: str, template: str, kind: str = "UPDATE", **values: str) -> dict:
    arn = cloudformation.create_change_set(
        StackName=name,
        ChangeSetName="change",
        ChangeSetType=kind,
        TemplateBody=template,
        Parameters=key_values(**values),
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )["Id"]
    return cloudformation.describe_change_set(ChangeSetName=arn)


def update(cloudformation, name: str, template: str, **values: str) -> None:
    made = change_set(cloudformation, name, template, **values)
    cloudformation.execute_change_set(ChangeSetName=made["ChangeSetId"])
    cloudformation.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=FAST)


def stack(cloudformation, name: str) -> dict:
    return cloudformation.describe_stacks(StackName=name)["Stacks"][0]


def statuses(cloudformation, name: str, logical: str) -> list[str]:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    return [event["ResourceStatus"] for event in reversed(events) if event["LogicalResourceId"] == logical]


def test_a_stack_makes_its_resources_and_deleting_it_takes_them_away(cloudformation, client):
    create(cloudformation, "one", BUCKET, Name="one-bucket")
    assert stack(cloudformation, "one")["Outputs"][0]["OutputValue"] == "arn:aws:s3:::one-bucket"
    rules = client("s3").get_bucket_lifecycle_configuration(Bucket="one-bucket")["Rules"]
    assert (rules[0]["Filter"], rules[0]["Expiration"]) == ({"Prefix": "tmp/"}, {"Days": 7})
    assert statuses(cloudformation, "one", "Bucket") == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    cloudformation.delete_stack(StackName="one")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="one", WaiterConfig=FAST)
    assert "one-bucket" not in [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]]
    with pytest.raises(ClientError, match="Stack with id one does not exist"):
        stack(cloudformation, "one")


def test_a_change_set_shows_what_would_change_and_changes_nothing_by_itself(cloudformation, client):
    create(cloudformation, "two", BUCKET, Name="two-bucket")
    made = change_set(cloudformation, "two", BUCKET, Name="two-bucket", Days="9")
    (change,) = [entry["ResourceChange"] for entry in made["Changes"]]
    assert (change["Action"], change["LogicalResourceId"], change["Replacement"]) == ("Modify", "Bucket", "False")
    assert [detail["Target"]["Name"] for detail in change["Details"]] == ["LifecycleConfiguration"]
    rules = client("s3").get_bucket_lifecycle_configuration(Bucket="two-bucket")["Rules"]
    assert rules[0]["Expiration"] == {"Days": 7}
    cloudformation.execute_change_set(ChangeSetName="change", StackName="two")
    cloudformation.get_waiter("stack_update_complete").wait(StackName="two", WaiterConfig=FAST)
    rules = client("s3").get_bucket_lifecycle_configuration(Bucket="two-bucket")["Rules"]
    assert rules[0]["Expiration"] == {"Days": 9}


def test_a_change_set_without_changes_fails_with_cloudformations_words(cloudformation):
    create(cloudformation, "three", BUCKET, Name="three-bucket")
    made = change_set(cloudformation, "three", BUCKET, Name="three-bucket")
    assert (made["Status"], made["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in made["StatusReason"]
    with pytest.raises(ClientError, match="cannot be executed in its current status"):
        cloudformation.execute_change_set(ChangeSetName="change", StackName="three")


def test_another_fixed_property_means_a_new_resource_and_the_old_one_goes(cloudformation, client):
    create(cloudformation, "four", BUCKET, Name="four-bucket")
    made = change_set(cloudformation, "four", BUCKET, Name="four-anew")
    assert made["Changes"][0]["ResourceChange"]["Replacement"] == "True"
    cloudformation.execute_change_set(ChangeSetName="change", StackName="four")
    cloudformation.get_waiter("stack_update_complete").wait(StackName="four", WaiterConfig=FAST)
    names = [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]]
    assert "four-anew" in names
    assert "four-bucket" not in names


@pytest.fixture
def code(client) -> str:
    """A bucket with a function's zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("m.py", "def handle(event, context): return 1")
    client("s3").create_bucket(Bucket="code")
    client("s3").put_object(Bucket="code", Key="fn.zip", Body=packed.getvalue())
    return "code"


def test_a_new_release_publishes_a_version_and_moves_the_alias(cloudformation, client, code):
    create(cloudformation, "five", FUNCTION, Release="a", Bucket=code)
    functions = client("lambda")
    assert functions.get_function_concurrency(FunctionName="fn")["ReservedConcurrentExecutions"] == 2
    assert functions.get_alias(FunctionName="fn", Name="live")["FunctionVersion"] == "1"
    update(cloudformation, "five", FUNCTION, Release="b", Bucket=code)
    assert functions.get_alias(FunctionName="fn", Name="live")["FunctionVersion"] == "2"
    versions = [entry["Version"] for entry in functions.list_versions_by_function(FunctionName="fn")["Versions"]]
    assert versions == ["$LATEST", "2"]
    answer = functions.invoke(FunctionName="fn:live")
    assert json.loads(answer["Payload"].read()) == 1


def test_a_creation_that_fails_is_undone_and_says_which_resource_and_why(cloudformation, client, code):
    client("s3").delete_object(Bucket=code, Key="fn.zip")
    with pytest.raises(WaiterError, match="ROLLBACK_COMPLETE"):
        create(cloudformation, "six", FUNCTION, Release="a", Bucket=code)
    failed = stack(cloudformation, "six")
    assert "failed to create: [Function]" in failed["StackStatusReason"]
    events = cloudformation.describe_stack_events(StackName="six")["StackEvents"]
    reason = next(e["ResourceStatusReason"] for e in events if e["ResourceStatus"] == "CREATE_FAILED")
    assert "NoSuchKey" in reason
    assert statuses(cloudformation, "six", "Role")[-1] == "DELETE_COMPLETE"
    assert cloudformation.describe_stack_resources(StackName="six")["StackResources"] == []
    with pytest.raises(ClientError, match="ROLLBACK_COMPLETE state and can not be updated"):
        change_set(cloudformation, "six", FUNCTION, Release="a", Bucket=code)


def test_an_update_that_fails_leaves_everything_as_it_was(cloudformation, client, code):
    create(cloudformation, "seven", FUNCTION, Release="a", Bucket=code)
    broken = FUNCTION.replace("Runtime: python3.12", "Runtime: nodejs22.x")
    made = change_set(cloudformation, "seven", broken, Release="b", Bucket=code)
    cloudformation.execute_change_set(ChangeSetName=made["ChangeSetId"])
    with pytest.raises(WaiterError, match="UPDATE_ROLLBACK_COMPLETE"):
        cloudformation.get_waiter("stack_update_complete").wait(StackName="seven", WaiterConfig=FAST)
    configuration = client("lambda").get_function_configuration(FunctionName="fn")
    assert (configuration["Description"], configuration["Runtime"]) == ("a", "python3.12")
    assert client("lambda").get_alias(FunctionName="fn", Name="live")["FunctionVersion"] == "1"
    update(cloudformation, "seven", FUNCTION, Release="c", Bucket=code)


def test_resources_with_names_of_their_own_in_iam_need_a_capability(cloudformation):
    with pytest.raises(ClientError) as refused:
        cloudformation.create_stack(
            StackName="eight", TemplateBody=FUNCTION, Parameters=key_values(Release="a", Bucket="b")
        )
    assert refused.value.response["Error"]["Code"] == "InsufficientCapabilitiesException"


SHARED = """
Resources:
  One: {Type: AWS::IAM::Role, Properties: {RoleName: one, AssumeRolePolicyDocument: TRUST}}
  Two: {Type: AWS::IAM::Role, Properties: {RoleName: two, AssumeRolePolicyDocument: TRUST}}
  Both:
    Type: AWS::IAM::Policy
    Properties:
      PolicyName: shared
      Roles: ROLES
      PolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Action: "ACTION", Resource: "*"}]
""".replace("TRUST", json.dumps(TRUST))


def test_a_policy_that_roles_share_follows_its_stack_in_each_of_them(cloudformation, client):
    def held() -> dict[str, list[str]]:
        iam, found = client("iam"), {}
        for role in ("one", "two"):
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                (statement,) = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
                found[role] = [name, statement["Action"]]
        return found

    both = SHARED.replace("ROLES", "[!Ref One, !Ref Two]").replace("ACTION", "s3:GetObject")
    create(cloudformation, "shared", both)
    assert held() == {role: ["shared", "s3:GetObject"] for role in ("one", "two")}
    update(cloudformation, "shared", SHARED.replace("ROLES", "[!Ref Two]").replace("ACTION", "s3:PutObject"))
    assert held() == {"two": ["shared", "s3:PutObject"]}
    update(cloudformation, "shared", SHARED[: SHARED.index("  Both:")])
    assert held() == {}


def test_an_unknown_type_is_refused_by_its_name_and_leaves_no_stack(cloudformation):
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::EC2::Instance\]"):
        change_set(cloudformation, "nine", "Resources: {I: {Type: AWS::EC2::Instance}}", kind="CREATE")
    assert cloudformation.describe_stacks()["Stacks"] == []


def test_a_retained_bucket_outlives_its_stack_but_not_a_failed_creation(cloudformation, client):
    kept = BUCKET.replace(
        "    Type: AWS::S3::Bucket", "    Type: AWS::S3::Bucket\n    DeletionPolicy: RetainExceptOnCreate"
    )
    create(cloudformation, "ten", kept, Name="ten-bucket")
    cloudformation.delete_stack(StackName="ten")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="ten", WaiterConfig=FAST)
    client("s3").head_bucket(Bucket="ten-bucket")
    late = "  Late: {Type: AWS::S3::Bucket, DependsOn: Bucket, Properties: {BucketName: ten-bucket}}"
    failing = kept.replace("Outputs:", f"{late}\nOutputs:")
    with pytest.raises(WaiterError):
        create(cloudformation, "eleven", failing, Name="eleven-bucket")
    assert "already exists" in str(cloudformation.describe_stack_events(StackName="eleven")["StackEvents"])
    with pytest.raises(ClientError, match="404"):
        client("s3").head_bucket(Bucket="eleven-bucket")
    client("s3").delete_bucket(Bucket="ten-bucket")


def test_a_stack_whose_bucket_is_not_empty_fails_to_delete_and_names_it(cloudformation, client):
    create(cloudformation, "twelve", BUCKET, Name="twelve-bucket")
    client("s3").put_object(Bucket="twelve-bucket", Key="k", Body=b"v")
    cloudformation.delete_stack(StackName="twelve")
    with pytest.raises(WaiterError, match="DELETE_FAILED"):
        cloudformation.get_waiter("stack_delete_complete").wait(StackName="twelve", WaiterConfig=FAST)
    assert "[Bucket]" in stack(cloudformation, "twelve")["StackStatusReason"]
    client("s3").delete_object(Bucket="twelve-bucket", Key="k")


def test_a_queue_and_a_topic_of_a_stack_can_be_used(cloudformation, client):
    template = """
Resources:
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: t}}
"""
    create(cloudformation, "thirteen", template)
    url = client("sqs").get_queue_url(QueueName="q")["QueueUrl"]
    client("sqs").send_message(QueueUrl=url, MessageBody="woof")
    assert client("sqs").receive_message(QueueUrl=url)["Messages"][0]["Body"] == "woof"
    client("sns").publish(TopicArn="arn:aws:sns:us-east-1:123456789012:t", Message="woof")
    cloudformation.delete_stack(StackName="thirteen")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="thirteen", WaiterConfig=FAST)
    assert client("sns").list_topics()["Topics"] == []


def test_a_creation_that_a_killed_server_left_is_undone_at_the_next_start(context):
    made = stacks.new(context, "cut", {}, "CREATE_IN_PROGRESS")
    stacks.keep(context, made)
    context.call("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="dogs")
    record = {
        "Type": "AWS::SageMaker::ModelPackageGroup",
        "PhysicalId": "dogs",
        "Properties": {"ModelPackageGroupName": "dogs"},
        "Attributes": {},
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Delete",
        "Status": "CREATE_COMPLETE",
        "Time": 0.0,
    }
    stacks.record(context, made["StackName"], "Group", record)
    for hook in registry.START_HOOKS:
        hook(context)
    assert stacks.find(context, "cut")["StackStatus"] == "ROLLBACK_COMPLETE"
    assert context.store.list("model-package-group") == []
    assert "stopped" in stacks.find(context, "cut")["StackStatusReason"]
    deploy.delete(context, "cut", [])
    assert context.store.list("stack") == []
