"""Train on one EC2 instance instead of a training job: the same code/train.py, features and hyperparameters.

The instance has no inbound rule, no key pair and no permission but its data in S3. It terminates itself.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from contract.s3 import bucket_and_key
from pipeline import bundle, execution, hints, upload
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.user_data import DIRECTORIES, Run

# Amazon's Deep Learning AMI with PyTorch, by Systems Manager parameter; PAWLINE_EC2_AMI names another, or an ami-….
# Source: its release notes (gpupt213oss-al2023), which list G4dn to P6 as supported instances and /opt/pytorch.
AMI = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.13-amazon-linux-2023/latest/ami-id"
INSTANCE_TYPE = "g4dn.xlarge"
VOLUME_GB = 100
DEADLINE_MINUTES = 120


def inputs(
    cloud: Cloud,
    *,
    arn: str | None = None,
    features_uri: str | None = None,
    weights_uri: str | None = None,
    prepared_uri: str | None = None,
    hyperparameters: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What `launch` trains on: what an execution trained on, with whatever is given here in its place.

    Given features_uri and no arn, no execution is looked for. Raises UserError as `from_execution` does.
    """
    known = {} if features_uri and not arn else from_execution(cloud, arn)
    given = {"features_uri": features_uri, "weights_uri": weights_uri, "prepared_uri": prepared_uri}
    return {
        **{name: uri or known.get(name) for name, uri in given.items()},
        "hyperparameters": known.get("hyperparameters", {}) | dict(hyperparameters or {}),
    }


def from_execution(cloud: Cloud, arn: str | None = None) -> dict[str, Any]:
    """What the Train step of an execution was given: features_uri, weights_uri, prepared_uri, hyperparameters.

    arn: the newest execution that succeeded when left out. Raises UserError where there is none, or none that trained.
    """
    arn = execution.resolve(cloud, arn) if arn else _newest_succeeded(cloud)
    execution.describe(cloud, arn)
    train = next((step for step in execution.steps(cloud, arn) if step.name == "Train" and step.job), None)
    if not train or not train.job:
        raise UserError(f"The execution {arn} has not trained yet.", "Choose another, or give --features and the rest.")
    job = cloud.client("sagemaker").describe_training_job(TrainingJobName=train.job[1])
    channels = {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in job["InputDataConfig"]}
    return {
        **{f"{name}_uri": channels.get(name) for name in ("features", "weights", "prepared")},
        "hyperparameters": {
            name: value.strip('"')
            for name, value in job["HyperParameters"].items()
            if not name.startswith("sagemaker_") and name not in DIRECTORIES
        },
    }


def _newest_succeeded(cloud: Cloud) -> str:
    execution.latest(cloud)  # says it where there is no pipeline or no execution
    for each in execution.executions(cloud):
        if each["PipelineExecutionStatus"] == "Succeeded":
            return each["PipelineExecutionArn"]
    raise UserError("No execution has succeeded yet.", "Run the pipeline first, or give --features and the rest.")


def launch(
    cloud: Cloud,
    *,
    features_uri: str,
    weights_uri: str | None,
    prepared_uri: str | None,
    hyperparameters: Mapping[str, str],
    instance_type: str = INSTANCE_TYPE,
    spot: bool = True,
    deadline_minutes: float = DEADLINE_MINUTES,
    dry_run: bool = False,
) -> dict[str, str]:
    """Launch one instance that trains and terminates itself; where its results will be, and (dry_run) only its script.

    Without weights_uri only the head is trained, which cannot be served. prepared_uri is copied only where stages of
    the backbone are trainable. Answer: run, model_uri, log_uri, result_uri, instance_id or user_data. Raises UserError.
    """
    if instance_type.startswith("ml.") or "." not in instance_type:
        raise UserError(f"{instance_type} is no EC2 instance type.", f"Write it as EC2 does: {INSTANCE_TYPE}.")
    if not 1 <= deadline_minutes <= 7 * 24 * 60:
        raise UserError(f"A deadline of {deadline_minutes:g} minutes is refused.", "Give 1 to 10080 minutes.")
    uses_images = hyperparameters.get("trainable-stages", "0") != "0"
    channels = {"features": features_uri, "weights": weights_uri, "prepared": prepared_uri if uses_images else None}
    name = f"ec2-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    given = {channel: uri for channel, uri in channels.items() if uri}
    code = bundle.read()  # once: what is uploaded is what the instance checks
    run = Run(
        region=cloud.settings.region,
        # Beside the pipeline's models: the deploy function reads there, so this one can be registered too.
        run_uri=f"{cloud.settings.root}/models/{name}",
        bundle_uri=f"{code.prefix(cloud.settings.root)}sourcedir.tar.gz",
        bundle_sha256=hashlib.sha256(code.archive()).hexdigest(),
        channels=given,
        hyperparameters=hyperparameters,
        deadline_seconds=round(deadline_minutes * 60),
    )
    script = run.script()
    answer = {
        "run": name,
        "model_uri": f"{run.run_uri}/model.tar.gz",
        "log_uri": f"{run.run_uri}/train.log",
        "result_uri": f"{run.run_uri}/result.json",
    }
    if dry_run:
        return answer | {"user_data": script}
    _check_features(cloud, features_uri)
    image, subnet = _image(cloud), os.environ.get("PAWLINE_EC2_SUBNET", "")
    group = _security_group(cloud, _vpc(cloud, subnet))
    upload.upload_code(cloud.client("s3"), cloud.settings, code)
    request = _request(cloud, name, script, image, instance_type, group, subnet, spot)
    return answer | {"instance_id": _run_instances(cloud, request)}


def remains(cloud: Cloud) -> list[str]:
    """Ids of what `launch` made and is still there: instances that have not terminated, and security groups."""
    return _instances(cloud) + _groups(cloud)


def remove(cloud: Cloud) -> None:
    """Terminate the project's instances, wait until they are gone, and delete its security groups."""
    ec2 = cloud.client("ec2")
    if instances := _instances(cloud):
        ec2.terminate_instances(InstanceIds=instances)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=instances)
    for group in _groups(cloud):
        ec2.delete_security_group(GroupId=group)


def _instances(cloud: Cloud) -> list[str]:
    states = ["pending", "running", "shutting-down", "stopping", "stopped"]
    filters = [{"Name": "tag:Name", "Values": [_name(cloud)]}, {"Name": "instance-state-name", "Values": states}]
    found = cloud.listed("ec2", "describe_instances", "Reservations", Filters=filters)
    return [each["InstanceId"] for held in found for each in held["Instances"]]


def _groups(cloud: Cloud, *filters: dict[str, Any]) -> list[str]:
    ours = [{"Name": "group-name", "Values": [_name(cloud)]}, *filters]
    found = cloud.client("ec2").describe_security_groups(Filters=ours)
    return [each["GroupId"] for each in found["SecurityGroups"]]


def _name(cloud: Cloud) -> str:
    """Of the instance profile, the security group and the instances."""
    return f"{cloud.settings.project}-ec2"


def _check_features(cloud: Cloud, uri: str) -> None:
    bucket, key = bucket_and_key(uri, UserError)
    try:
        cloud.client("s3").head_object(Bucket=bucket, Key=f"{key.rstrip('/')}/features.json")
    except ClientError as error:
        what = f"There is no features.json under {uri} ({error.response['Error']['Code']})."
        raise UserError(what, "Give the prefix that an Embed step wrote.") from None


def _image(cloud: Cloud) -> dict[str, Any]:
    """DescribeImages' answer for the AMI."""
    named = os.environ.get("PAWLINE_EC2_AMI", AMI)
    try:
        if not named.startswith("ami-"):
            named = cloud.client("ssm").get_parameter(Name=named)["Parameter"]["Value"]
        return cloud.client("ec2").describe_images(ImageIds=[named])["Images"][0]
    except (ClientError, IndexError) as error:
        raise UserError(
            f"The machine image {named} cannot be used: {error}.",
            "Name another in PAWLINE_EC2_AMI (ami-…, or a Systems Manager parameter) with PyTorch and the AWS CLI.",
        ) from None


def _vpc(cloud: Cloud, subnet: str) -> str:
    ec2 = cloud.client("ec2")
    try:
        if subnet:
            return ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
        return ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    except (ClientError, IndexError) as error:
        if subnet:
            raise UserError(f"The subnet {subnet} cannot be used: {error}.", "Mend PAWLINE_EC2_SUBNET.") from None
        raise UserError(
            "This region has no default VPC, or you may not see it.",
            "Name a subnet with a way to S3: PAWLINE_EC2_SUBNET=subnet-….",
        ) from None


def _security_group(cloud: Cloud, vpc: str) -> str:
    """The project's group in a VPC, made when missing. A new group lets nothing in; one that was opened is refused."""
    ec2, name = cloud.client("ec2"), _name(cloud)
    known = _groups(cloud, {"Name": "vpc-id", "Values": [vpc]})
    if not known:
        return ec2.create_security_group(
            GroupName=name,
            Description="Training instances of Pawline: nothing comes in.",
            VpcId=vpc,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": _tags(cloud)}],
        )["GroupId"]
    if ec2.describe_security_groups(GroupIds=known)["SecurityGroups"][0]["IpPermissions"]:
        what = f"Somebody added inbound rules to the security group {name} ({known[0]})."
        raise UserError(what, "Remove the rules, or the group.")
    return known[0]


def _tags(cloud: Cloud, **more: str) -> list[dict[str, str]]:
    tags = {"Name": _name(cloud), "Project": cloud.settings.project, **more}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _request(
    cloud: Cloud, run: str, script: str, image: dict[str, Any], instance_type: str, group: str, subnet: str, spot: bool
) -> dict[str, Any]:
    """RunInstances' request."""
    root = image["RootDeviceName"]
    sizes = [d["Ebs"].get("VolumeSize", 0) for d in image.get("BlockDeviceMappings", []) if "Ebs" in d]
    volume = {"VolumeSize": max([VOLUME_GB, *sizes]), "VolumeType": "gp3", "Encrypted": True}
    tagged = ["instance", "volume", *(["spot-instances-request"] if spot else [])]
    request: dict[str, Any] = {
        "ClientToken": run,
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": image["ImageId"],
        "InstanceType": instance_type,
        "UserData": script,
        "IamInstanceProfile": {"Name": _name(cloud)},
        "SecurityGroupIds": [group],
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [{"DeviceName": root, "Ebs": {**volume, "DeleteOnTermination": True}}],
        "TagSpecifications": [{"ResourceType": kind, "Tags": _tags(cloud, Run=run)} for kind in tagged],
    }
    if subnet:
        request["SubnetId"] = subnet
    if spot:
        request["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
        }
    return request


_ADVICE = {
    "InsufficientInstanceCapacity": "It is sold out here: try later, another type, or --on-demand.",
    "MaxSpotInstanceCountExceeded": "Ask Service Quotas for more spot vCPUs of this family, or try --on-demand.",
    "VcpuLimitExceeded": "Ask Service Quotas for more vCPUs of this family; a new account has none for GPUs.",
    "Unsupported": "This region or zone does not have the type: choose another, or another PAWLINE_EC2_SUBNET.",
    "UnauthorizedOperation": "docs/aws.md lists what you need: ec2:RunInstances and iam:PassRole among it.",
}


def _run_instances(cloud: Cloud, request: dict[str, Any]) -> str:
    try:
        return cloud.client("ec2").run_instances(**request)["Instances"][0]["InstanceId"]
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if code == "NoSuchEntity" or "iamInstanceProfile" in message:
            advice = f"Its instance profile is part of the template: {hints.DEPLOY_INFRA}"
        else:
            advice = _ADVICE.get(code, "Check the instance type and its architecture (x86_64).")
        raise UserError(f"EC2 launched no {request['InstanceType']}: {message} ({code})", advice) from None
