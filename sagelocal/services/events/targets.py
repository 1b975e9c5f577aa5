"""Where events and schedules go: SageMaker pipelines, Lambda functions, SQS queues and SNS topics."""

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.services.iam import sessions

_making_client = threading.Lock()  # boto3's default session is not safe for threads while it makes a client

SESSION = "EventBridge"  # what the sessions of a target's role are called
KINDS = "a SageMaker pipeline, a Lambda function, an SQS queue or an SNS topic"


@dataclass(frozen=True)
class Target:
    """A target's ARN, the role it is reached with (if any), and what its kind needs beside the payload.

    `token`: the same each time that the payload is sent, so that an execution is not started twice.
    """

    arn: str
    role: str | None = None
    pipeline_parameters: tuple[tuple[str, str], ...] = ()
    message_group: str | None = None
    token: str | None = None


def check(arn: str) -> None:
    """Raise ValidationException for an ARN that nothing here can reach."""
    parts = arn.split(":", 5)
    known = {"sagemaker": "pipeline/", "lambda": "function:", "sqs": "", "sns": ""}
    if len(parts) != 6 or parts[2] not in known or not parts[5].startswith(known[parts[2]]) or not parts[5]:
        raise ValidationException(f"Target {arn} cannot be reached by the embedded SageMaker: it must be {KINDS}.")


def send(context: Context, target: Target, payload: str) -> None:
    """Hand a payload (JSON text) to a target, in its role. Raises AwsError, or botocore's errors (queues, topics)."""
    service, resource = target.arn.split(":", 5)[2::3]
    context = context.as_role(target.role, SESSION)
    if service == "sagemaker":
        context.call("sagemaker", "StartPipelineExecution", **pipeline_request(target))
    elif service == "lambda":
        context.call("lambda", "Invoke", FunctionName=target.arn, InvocationType="Event", Payload=payload.encode())
    elif service == "sqs":
        send_message(context, resource, payload, message_group=target.message_group)
    else:
        client(context, "sns").publish(TopicArn=target.arn, Message=payload)


def pipeline_request(target: Target) -> Json:
    """The StartPipelineExecution request for a pipeline target."""
    return {
        "PipelineName": target.arn.rpartition("/")[2],
        "PipelineParameters": [{"Name": name, "Value": value} for name, value in target.pipeline_parameters],
        "ClientRequestToken": target.token or uuid.uuid4().hex,
    }


def dead_letter(context: Context, target: Target, payload: str, queue_arn: str, attributes: dict[str, str]) -> None:
    """Put what could not be delivered on a queue, with the reason in the message's attributes."""
    service = target.arn.split(":", 5)[2]
    body = json.dumps(pipeline_request(target)) if service == "sagemaker" else payload
    send_message(context.as_role(target.role, SESSION), queue_arn.rpartition(":")[2], body, attributes)


def send_message(
    context: Context,
    queue: str,
    body: str,
    attributes: Mapping[str, str | int] | None = None,
    message_group: str | None = None,
) -> None:
    extra: Json = {"MessageGroupId": message_group} if message_group else {}
    if attributes:
        extra["MessageAttributes"] = typed(attributes)
    url = f"{context.url}/{context.account}/{queue}"
    client(context, "sqs").send_message(QueueUrl=url, MessageBody=body, **extra)


def typed(attributes: Mapping[str, str | int]) -> dict[str, dict[str, str]]:
    """A message's attributes as SQS and SNS want them; empty ones are left out, as they must be."""
    return {
        name: {"DataType": "Number" if isinstance(value, int) else "String", "StringValue": str(value)}
        for name, value in attributes.items()
        if value != ""
    }


def client(context: Context, service: str) -> Any:
    """A client of this very server: queues and topics are moto's, and moto is reached over HTTP. A service that acts
    by itself is the account's owner; its keys stay in this process."""
    import boto3  # only who has queues or topics pays for it

    if context.caller is None:
        keys = sessions.owner(context)
        signed = {"aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key}
    else:
        signed = {name.lower(): value for name, value in sessions.environment(context).items()}
    with _making_client:
        return boto3.client(service, endpoint_url=context.url, region_name=context.region, **signed)
