"""A stack's alias with provisioned workers, its URL, and what becomes of its events."""

import json

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.function_urls import ask
from tests.sagelocal.lambda_functions import call, packed

FAST = {"Delay": 1, "MaxAttempts": 20}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
TEMPLATE = """
Parameters:
  Release: {Type: String, Default: one}
  Code: {Type: String, Default: good.zip}
  Warm: {Type: Number, Default: 1}
  Retries: {Type: Number, Default: 0}
Conditions: {Warms: !Not [!Equals [!Ref Warm, 0]]}
Resources:
  Letters: {Type: AWS::SQS::Queue, Properties: {QueueName: letters}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: fn
      AssumeRolePolicyDocument: TRUST
      Policies:
        - PolicyName: own
          PolicyDocument:
            Version: "2012-10-17"
            Statement: [{Effect: Allow, Action: "sqs:SendMessage", Resource: !GetAtt Letters.Arn}]
  Function:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: fn
      Description: !Ref Release
      Runtime: python3.12
      Handler: m.handle
      Code: {S3Bucket: stack-code, S3Key: !Ref Code}
      Role: !GetAtt Role.Arn
      DeadLetterConfig: {TargetArn: !GetAtt Letters.Arn}
  Version: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref Function, Description: !Ref Release}}
  Alias:
    Type: AWS::Lambda::Alias
    Properties:
      FunctionName: !Ref Function
      Name: live
      FunctionVersion: !GetAtt Version.Version
      ProvisionedConcurrencyConfig: !If [Warms, {ProvisionedConcurrentExecutions: !Ref Warm}, !Ref "AWS::NoValue"]
  Url:
    Type: AWS::Lambda::Url
    DependsOn: Alias
    Properties: {TargetFunctionArn: !GetAtt Function.Arn, Qualifier: live, AuthType: NONE, Cors: {AllowOrigins: ["*"]}}
  Everybody:
    Type: AWS::Lambda::Permission
    Properties:
      FunctionName: !Ref Alias
      Action: lambda:InvokeFunctionUrl
      Principal: "*"
      FunctionUrlAuthType: NONE
  EverybodyInvokes:
    Type: AWS::Lambda::Permission
    Properties: {FunctionName: !Ref Alias, Action: lambda:InvokeFunction, Principal: "*", InvokedViaFunctionUrl: true}
  Events:
    Type: AWS::Lambda::EventInvokeConfig
    DependsOn: Alias
    Properties:
      FunctionName: !Ref Function
      Qualifier: live
      MaximumRetryAttempts: !Ref Retries
      DestinationConfig: {OnFailure: {Destination: !GetAtt Letters.Arn}}
Outputs: {Url: {Value: !GetAtt Url.FunctionUrl}}
""".replace("TRUST", json.dumps(TRUST))
GOOD = "import os\ndef handle(event, context): return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']"


@pytest.fixture(scope="module")
def stack(client):
    """stack(Parameter="value") brings the stack to the template with these parameters."""
    cloudformation = client("cloudformation")
    client("s3").create_bucket(Bucket="stack-code")
    client("s3").put_object(Bucket="stack-code", Key="good.zip", Body=packed({"m.py": GOOD}))
    client("s3").put_object(Bucket="stack-code", Key="bad.zip", Body=packed({"m.py": "import no_such_thing"}))

    def deploy(do: str, **values: str) -> None:
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]
        asked = {"StackName": "functions", "TemplateBody": TEMPLATE, "Parameters": parameters}
        getattr(cloudformation, f"{do}_stack")(**asked, Capabilities=["CAPABILITY_NAMED_IAM"])
        cloudformation.get_waiter(f"stack_{do}_complete").wait(StackName="functions", WaiterConfig=FAST)

    deploy("create")
    return lambda **values: deploy("update", **values)


def provisioned(functions) -> tuple[str, int]:
    config = functions.get_provisioned_concurrency_config(FunctionName="fn", Qualifier="live")
    return config["Status"], config["RequestedProvisionedConcurrentExecutions"]


def test_a_stack_is_complete_when_its_workers_are_ready_and_its_url_answers(stack, client, functions):
    assert provisioned(functions) == ("READY", 1)
    assert call(functions, "fn:live") == "provisioned-concurrency"
    outputs = client("cloudformation").describe_stacks(StackName="functions")["Stacks"][0]["Outputs"]
    assert ask(outputs[0]["OutputValue"])[2] == b'"provisioned-concurrency"'
    events = functions.get_function_event_invoke_config(FunctionName="fn", Qualifier="live")
    assert events["MaximumRetryAttempts"] == 0
    assert events["DestinationConfig"]["OnFailure"]["Destination"].endswith(":letters")


def test_an_update_moves_the_workers_and_changes_the_rules(stack, functions):
    stack(Release="two", Warm="2", Retries="1")
    assert provisioned(functions) == ("READY", 2)
    assert functions.get_alias(FunctionName="fn", Name="live")["FunctionVersion"] == "2"
    events = functions.get_function_event_invoke_config(FunctionName="fn", Qualifier="live")
    assert events["MaximumRetryAttempts"] == 1


def test_a_release_whose_workers_cannot_start_is_rolled_back(stack, functions):
    stack(Release="three")
    before = functions.get_alias(FunctionName="fn", Name="live")["FunctionVersion"]
    with pytest.raises(WaiterError, match="UPDATE_ROLLBACK"):
        stack(Release="four", Code="bad.zip")
    assert functions.get_alias(FunctionName="fn", Name="live")["FunctionVersion"] == before
    assert call(functions, "fn:live") == "provisioned-concurrency"


def test_without_provisioned_concurrency_the_alias_has_none_and_the_stack_can_go(stack, client, functions):
    stack(Release="five", Warm="0")
    with pytest.raises(ClientError, match="ProvisionedConcurrencyConfigNotFoundException"):
        provisioned(functions)
    url = functions.get_function_url_config(FunctionName="fn", Qualifier="live")["FunctionUrl"]
    client("cloudformation").delete_stack(StackName="functions")
    client("cloudformation").get_waiter("stack_delete_complete").wait(StackName="functions", WaiterConfig=FAST)
    assert ask(url)[0] == 404
