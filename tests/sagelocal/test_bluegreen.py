"""UpdateEndpoint with a DeploymentConfig: traffic moves in steps, alarms are watched, a bad fleet is taken back."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sagelocal.core import lifecycle
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.services.cloudwatch import clock
from sagelocal.services.sagemaker.hosting import deployment
from sagelocal.services.sagemaker.hosting.endpoint import Variant, fleet
from sagelocal.services.sagemaker.hosting.instance import Instance, Served
from sagelocal.services.sagemaker.hosting.rollout import RollBack, Rollout, Superseded
from tests.sagelocal.board import listening_on
from tests.sagelocal.endpoint_account import SERVE, Account, Load
from tests.waiting import is_gone, until

SPEED = 60.0  # one of AWS's minutes lasts a second
MINUTE = 60

# Of 120 independent requests that go to one of two with probability 1/4, 30 on average, chance alone brings fewer than
# LEAST or more than MOST less than once in 10^9 runs: P(X <= 4) = 1.2e-10 and P(X >= 62) = 3.5e-10, binomial.
REQUESTS, LEAST, MOST = 120, 5, 61


def hurry(server: lifecycle.Running, speed: float = SPEED) -> None:
    server.ask("POST", f"/_sagelocal/clock?speed={speed:g}")


@pytest.fixture(scope="module")
def account(server: lifecycle.Running) -> Account:
    hurry(server)
    return Account(server.url)


@pytest.fixture
def serving(account: Account) -> Iterator[str]:
    """An endpoint in service with two instances of version 1."""
    name = account.endpoint(account.config("1", count=2))
    assert account.settled(name)["EndpointStatus"] == "InService"
    yield name
    account.sagemaker.delete_endpoint(EndpointName=name)


@pytest.fixture
def alarm(client) -> Iterator[str]:
    """An alarm that is OK until somebody sets its state."""
    name = "too-many-errors"
    client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        **{"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Statistic": "Sum"},
        **{"Dimensions": [{"Name": "EndpointName", "Value": "nobody"}, {"Name": "VariantName", "Value": "AllTraffic"}]},
        **{"Period": 3600, "EvaluationPeriods": 1, "Threshold": 1.0, "TreatMissingData": "ignore"},
        ComparisonOperator="GreaterThanThreshold",
    )
    client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")
    yield name
    client("cloudwatch").delete_alarms(AlarmNames=[name])


def blue_green(
    kind: str = "ALL_AT_ONCE", size: dict | None = None, wait: int = 0, end: int = 0, alarms: tuple = (), **policy
) -> dict:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait}
    if size:
        routing[{"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}[kind]] = size
    config = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": end, **policy}
    }
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return config


def percent(value: int) -> dict:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value: int) -> dict:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def reached(account: Account, endpoint: str, is_it: Callable[[dict], bool]) -> dict:
    """DescribeEndpoint's answer as soon as `is_it` says so of it."""
    return until(lambda: account.sagemaker.describe_endpoint(EndpointName=endpoint), is_it)


def pending(found: dict) -> dict:
    return found.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])[0]


def is_baking(found: dict) -> bool:
    return any(status["Status"] == "Baking" for status in pending(found).get("VariantStatus", []))


@pytest.fixture
def real_time(server: lifecycle.Running) -> Iterator[Callable[[], None]]:
    """Minutes last a minute until the function that this gives is called: then they pass at once."""
    hurry(server, 1)
    yield lambda: hurry(server, clock.FASTEST)
    hurry(server)


def test_a_canary_takes_its_share_of_the_traffic_and_then_all_of_it(account: Account, serving: str, real_time):
    following = account.config("2", count=4)
    config = blue_green("CANARY", percent(25), wait=30 * MINUTE)
    with Load(account, serving) as load:
        account.sagemaker.update_endpoint(EndpointName=serving, EndpointConfigName=following, DeploymentConfig=config)
        found = reached(account, serving, is_baking)
        during = Counter(account.said(serving)["version"] for _ in range(REQUESTS))
        real_time()
        assert account.settled(serving)["EndpointConfigName"] == following
        then = len(load.versions)
        load.more(4)
    assert (found["EndpointStatus"], found["EndpointConfigName"] != following) == ("Updating", True)
    assert found["PendingDeploymentSummary"]["EndpointConfigName"] == following
    assert (pending(found)["CurrentInstanceCount"], pending(found)["DesiredInstanceCount"]) == (1, 4)
    assert pending(found)["VariantStatus"][0]["StatusMessage"] == (
        "Baking for 1800 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
    )
    assert LEAST <= during["2"] <= MOST, during
    assert load.failures == [] and load.versions[then:].count("1") <= 4, "what each thread had under way"
    after = account.settled(serving)
    assert "PendingDeploymentSummary" not in after and after["LastDeploymentConfig"] == config
    assert after["ProductionVariants"][0]["CurrentInstanceCount"] == 4


def test_linear_steps_follow_one_another(account: Account, serving: str):
    following = account.config("2", count=3)
    account.sagemaker.update_endpoint(
        EndpointName=serving,
        EndpointConfigName=following,
        DeploymentConfig=blue_green("LINEAR", instances(1), wait=3 * MINUTE),
    )
    seen: list[int] = []

    def is_over(found: dict) -> bool:
        if (active := pending(found).get("CurrentInstanceCount")) not in seen:
            seen.append(active)
        return "PendingDeploymentSummary" not in found

    found = reached(account, serving, is_over)
    assert [active for active in seen if active in (0, 1, 2)] == [0, 1, 2]
    assert found["EndpointConfigName"] == following


def test_an_alarm_during_baking_brings_the_old_fleet_back_without_a_lost_request(
    account: Account, serving: str, alarm: str, client
):
    before = account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointConfigName"]
    following = account.config("2", count=2)
    with Load(account, serving) as load:
        account.sagemaker.update_endpoint(
            EndpointName=serving,
            EndpointConfigName=following,
            DeploymentConfig=blue_green("CANARY", instances(1), wait=60 * MINUTE, alarms=(alarm,)),
        )
        reached(account, serving, is_baking)
        until(lambda: "2" in load.versions)
        client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="errors")
        found = reached(account, serving, lambda found: found["EndpointStatus"] != "Updating")
        back = len(load.versions)
        after = account.settled(serving)
        load.more(4)
    assert alarm in found["FailureReason"]
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", before)
    assert alarm in after["FailureReason"] and "ALARM" in after["FailureReason"]
    assert "PendingDeploymentSummary" not in after
    assert load.failures == []
    assert load.versions[back:].count("2") <= 4, "what each thread had under way"


def test_an_alarm_can_watch_the_new_fleet_alone(account: Account, serving: str, client):
    before = account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointConfigName"]
    broken = account.config("2", count=2, script=SERVE.replace('if body == b"busy":', "if True:"))
    dimensions = {"EndpointName": serving, "VariantName": "AllTraffic", "EndpointConfigName": broken}
    client("cloudwatch").put_metric_alarm(
        AlarmName="new-fleet",
        **{"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Statistic": "Sum"},
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        **{"Period": MINUTE, "EvaluationPeriods": 1, "Threshold": 0.0, "TreatMissingData": "notBreaching"},
        ComparisonOperator="GreaterThanThreshold",
    )
    with Load(account, serving) as load:
        account.sagemaker.update_endpoint(
            EndpointName=serving,
            EndpointConfigName=broken,
            DeploymentConfig=blue_green("CANARY", instances(1), wait=60 * MINUTE, alarms=("new-fleet",)),
        )
        after = account.settled(serving)
    assert after["EndpointConfigName"] == before and "new-fleet" in after["FailureReason"]
    assert load.failures and all("ModelError" in str(failure) for failure in load.failures)
    client("cloudwatch").delete_alarms(AlarmNames=["new-fleet"])


def test_an_alarm_after_the_last_shift_rolls_back_too(account: Account, serving: str, alarm: str, client):
    before = account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointConfigName"]
    account.sagemaker.update_endpoint(
        EndpointName=serving,
        EndpointConfigName=account.config("2"),
        DeploymentConfig=blue_green(end=60 * MINUTE, alarms=(alarm,)),
    )
    found = reached(account, serving, is_baking)
    assert "TerminationWaitInSeconds" in pending(found)["VariantStatus"][0]["StatusMessage"]
    assert account.said(serving)["version"] == "2"
    client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="errors")
    assert account.settled(serving)["EndpointConfigName"] == before
    assert account.said(serving)["version"] == "1"


def test_a_deployment_that_takes_too_long_is_rolled_back(context: Context):
    context.store.insert("endpoint", "e", {"_Deployment": "d", "EndpointStatus": "Updating"})
    policy = deployment.read(blue_green(MaximumExecutionTimeoutInSeconds=600))
    rollout = Rollout(context, "e", "d", "c", [], policy)
    rollout._check(time.monotonic() - 60)
    with pytest.raises(RollBack, match="did not finish within MaximumExecutionTimeoutInSeconds, 600 s"):
        rollout._check(time.monotonic() - 601)
    with pytest.raises(Superseded):
        Rollout(context, "e", "another", "c", [], policy)._check(time.monotonic())


def test_the_last_deployment_config_is_used_again(account: Account):
    config = blue_green("CANARY", instances(1), wait=MINUTE)
    name = f"{account.config('1')}-endpoint"
    account.sagemaker.create_endpoint(
        EndpointName=name, EndpointConfigName=account.config("1", count=2), DeploymentConfig=config
    )
    assert account.settled(name)["LastDeploymentConfig"] == config
    account.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=account.config("2", count=2), RetainDeploymentConfig=True
    )
    reached(account, name, is_baking)
    assert account.settled(name)["LastDeploymentConfig"] == config
    account.sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (blue_green("CANARY"), "type CANARY needs CanarySize"),
        (blue_green("CANARY", percent(51)), "at most 50 %"),
        (blue_green("CANARY", instances(2)), "moves 2 of the 2 instance.s. .* at most 50 %"),
        (blue_green("LINEAR", percent(9)), "10 to 50 %"),
        (blue_green("CANARY", instances(1), alarms=("nobody",)), "alarm nobody .* does not exist"),
        (
            blue_green("CANARY", instances(1), wait=600, end=600, MaximumExecutionTimeoutInSeconds=1200),
            "MaximumExecutionTimeoutInSeconds is 1200, but the deployment alone waits 1200 s",
        ),
        (blue_green(wait=3601), "less than or equal to 3600"),
        (
            {"RollingUpdatePolicy": {"MaximumBatchSize": percent(10), "WaitIntervalInSeconds": 0}},
            "does not run RollingUpdatePolicy",
        ),
    ],
)
def test_a_deployment_config_that_aws_would_refuse_is_refused(account: Account, serving: str, config: dict, said: str):
    following = account.config("2", count=2)
    with pytest.raises(ClientError, match=said) as caught:
        account.sagemaker.update_endpoint(EndpointName=serving, EndpointConfigName=following, DeploymentConfig=config)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert account.sagemaker.describe_endpoint(EndpointName=serving)["EndpointStatus"] == "InService"


def test_one_instance_cannot_be_shifted_in_steps():
    policy = deployment.read(blue_green("CANARY", percent(10)))
    with pytest.raises(ValidationException, match="moves 1 of the 1 instance.* ALL_AT_ONCE"):
        deployment.check(policy, {"AllTraffic": 1})


@pytest.mark.parametrize(
    ("config", "count", "steps"),
    [
        (blue_green(), 3, [3]),
        (blue_green("CANARY", percent(30)), 3, [1, 3]),
        (blue_green("CANARY", instances(2)), 5, [2, 5]),
        (blue_green("LINEAR", percent(20)), 10, [2, 4, 6, 8, 10]),
        (blue_green("LINEAR", percent(33)), 7, [2, 4, 6, 7]),
        (blue_green("LINEAR", instances(2)), 4, [2, 4]),
    ],
)
def test_steps_are_counted_in_instances(config: dict, count: int, steps: list[int]):
    assert deployment.read(config).steps(count) == steps


def test_deleting_in_the_middle_ends_both_fleets(account: Account):
    name = account.endpoint(account.config("1", count=2))
    account.settled(name)
    account.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=account.config("2", count=2),
        DeploymentConfig=blue_green("CANARY", instances(1), wait=30 * MINUTE),
    )
    reached(account, name, is_baking)
    pids = {listening_on(port) for port in {account.said(name)["port"] for _ in range(30)}}
    assert len(pids) >= 2
    account.sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: all(is_gone(pid) for pid in pids))


def test_a_serverless_variant_is_updated_at_once(account: Account):
    serverless = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
    name = account.endpoint(account.config("1", **serverless))
    account.settled(name)
    account.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=account.config("2", **serverless),
        DeploymentConfig=blue_green("CANARY", percent(10), wait=30 * MINUTE),
    )
    assert account.settled(name)["EndpointStatus"] == "InService"
    assert account.said(name)["version"] == "2"
    account.sagemaker.delete_endpoint(EndpointName=name)


def test_eventbridge_hears_of_each_status_and_of_the_deployment(account: Account, client):
    sqs, events = client("sqs"), client("events")
    queue = sqs.create_queue(QueueName="endpoint-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="endpoints", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    events.put_targets(Rule="endpoints", Targets=[{"Id": "queue", "Arn": arn}])
    name = f"{account.config('1')}-told"
    tags = [{"Key": "wish", "Value": "canary"}]
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=account.config("1", count=2), Tags=tags)
    account.settled(name)
    account.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=account.config("2", count=2),
        DeploymentConfig=blue_green("CANARY", instances(1), wait=MINUTE),
    )
    account.settled(name)
    account.sagemaker.delete_endpoint(EndpointName=name)
    heard: list[dict] = []

    def hear() -> list[str]:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            heard.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [event["detail"]["EndpointStatus"] for event in heard]

    until(hear, lambda statuses: "DELETING" in statuses)
    events.remove_targets(Rule="endpoints", Ids=["queue"])
    events.delete_rule(Name="endpoints")
    heard = [event for event in heard if event["detail"]["EndpointName"] == name]
    states = [e["detail"] for e in heard if e["detail-type"] == "SageMaker Endpoint State Change"]
    assert {detail["EndpointStatus"] for detail in states} == {"CREATING", "IN_SERVICE", "UPDATING", "DELETING"}
    assert all(detail["Tags"] == {"wish": "canary"} for detail in states)
    steps = [e["detail"] for e in heard if e["detail-type"] == "SageMaker Endpoint Deployment State Change"]
    variants = [detail["PendingDeploymentSummary"]["ProductionVariants"][0] for detail in steps]
    assert {"Creating", "ActivatingTraffic", "Baking"} == {v["VariantStatus"][0]["Status"] for v in variants}


def test_no_request_is_lost_when_one_of_two_instances_is_killed(account: Account, serving: str):
    with Load(account, serving) as load, Load(account, serving, 2, b"slow"):
        for _ in range(3):
            load.more(16)
            os.kill(listening_on(account.said(serving)["port"]), signal.SIGKILL)
        load.more(16)
    assert load.failures == []


def test_two_variants_share_the_traffic_by_their_weights(account: Account):
    hosts = {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    variants = [
        {"VariantName": name, "ModelName": account.model(name), "InitialVariantWeight": weight, **hosts}
        for name, weight in (("champion", 3.0), ("challenger", 1.0))
    ]
    name = account.endpoint(account.config_of(*variants))
    account.settled(name)
    said = Counter(account.said(name)["version"] for _ in range(REQUESTS))
    assert LEAST <= said["challenger"] <= MOST, said
    assert {account.said(name, TargetVariant="challenger")["version"] for _ in range(5)} == {"challenger"}
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "champion", "DesiredWeight": 0.0}]
    )
    account.settled(name)
    assert {account.said(name)["version"] for _ in range(10)} == {"challenger"}
    assert account.said(name, TargetVariant="champion")["version"] == "champion"
    with pytest.raises(ClientError, match="needs the same variants before and after"):
        account.sagemaker.update_endpoint(
            EndpointName=name,
            EndpointConfigName=account.config("2", count=2),
            DeploymentConfig=blue_green("CANARY", instances(1)),
        )
    account.sagemaker.delete_endpoint(EndpointName=name)


def test_a_model_that_does_not_answer_in_time_is_a_model_error_without_a_status(context: Context, monkeypatch):
    monkeypatch.setattr("sagelocal.services.sagemaker.hosting.instance.MODEL_SECONDS", 0.2)
    noted: list[dict] = []
    monkeypatch.setattr("sagelocal.services.cloudwatch.endpoints.note", lambda context, **facts: noted.append(facts))
    served = Served(
        **{"endpoint": "e", "variant": "v", "image": "i", "model_data": None, "packed": True, "environment": {}},
        config="c",
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        instance = Instance(context, served, "i-1", ready=True, port=silent.getsockname()[1])
        fleet(context).route("e", [Variant(served, 1.0, [instance])])
        with pytest.raises(AwsError, match="timed out while waiting for a response from container primary") as caught:
            context.call("sagemaker-runtime", "InvokeEndpoint", EndpointName="e", Body=b"x")
    assert (caught.value.code, caught.value.status, caught.value.members["OriginalStatusCode"]) == (
        "ModelError",
        424,
        0,
    )
    (facts,) = noted
    assert facts.pop("model_seconds") >= 0.2 and facts.pop("overhead_seconds") >= 0
    assert facts == {"endpoint": "e", "variant": "v", "instances": 1, "status": 0, "config": "c"}


def test_a_busy_model_reaches_the_caller_as_a_model_error(account: Account, serving: str):
    with pytest.raises(ClientError) as caught:
        account.said(serving, b"busy")
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (503, "the queue is full")


def test_a_server_that_is_killed_during_a_deployment_serves_the_old_fleet_again(tmp_path: Path):
    running = lifecycle.ensure(tmp_path / "state")
    try:
        account = Account(running.url)
        before = account.config("1", count=2)
        name = account.endpoint(before)
        account.settled(name)
        account.sagemaker.update_endpoint(
            EndpointName=name,
            EndpointConfigName=account.config("2", count=2),
            DeploymentConfig=blue_green(end=3600),
        )
        reached(account, name, is_baking)
        assert account.said(name)["version"] == "2"
        os.kill(running.pid, signal.SIGKILL)
        os.waitpid(running.pid, 0)
        running = lifecycle.ensure(tmp_path / "state")
        account = Account(running.url)
        assert account.said(name)["version"] == "1"
        found = account.settled(name)
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", before)
        assert "stopped while the endpoint was updated" in found["FailureReason"]
        assert "PendingDeploymentSummary" not in found
    finally:
        lifecycle.stop(tmp_path / "state")


def test_the_models_role_must_be_allowed_to_look_at_the_alarms(account: Account, serving: str, alarm: str, client):
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = client("iam").create_role(RoleName="blind", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    with pytest.raises(ClientError, match="may not call cloudwatch:DescribeAlarms on the alarm too-many-errors"):
        account.sagemaker.update_endpoint(
            EndpointName=serving,
            EndpointConfigName=account.config("2", count=2, role=role),
            DeploymentConfig=blue_green(alarms=(alarm,)),
        )
