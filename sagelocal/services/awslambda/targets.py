"""Where the results of asynchronous invocations go: destinations, and dead-letter queues and topics.

All of it is sent as the function's role. Sources:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

import json
from collections.abc import Mapping
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.awslambda.errors import invalid
from sagelocal.services.events import targets
from sagelocal.services.iam import enforcement
from sagelocal.services.iam.policy import Call

SENDING = {  # service -> the action that the role needs
    "sqs": "SendMessage",
    "sns": "Publish",
    "lambda": "InvokeFunction",
    "events": "PutEvents",
}
DEAD_LETTERS = ("sqs", "sns")
MAX_ERROR_MESSAGE = 1024  # characters of it on a dead letter


def check_dead_letters(context: Context, config: Mapping[str, Any] | None, role: str) -> None:
    """Raise InvalidParameterValueException for a DeadLetterConfig that cannot be used by the role."""
    arn = (config or {}).get("TargetArn")
    if not arn:
        return
    service = _service(arn)
    if service not in DEAD_LETTERS:
        raise invalid(f"The dead-letter target {arn} is neither an SQS queue nor an SNS topic.")
    if not _may_send(context, arn, role):
        what = f"{SENDING[service]} on {service.upper()}"
        raise invalid(f"The provided execution role does not have permissions to call {what}")


def check_destination(context: Context, arn: str, role: str) -> None:
    """Raise InvalidParameterValueException for a destination that is none, or that the role may not send to."""
    if _service(arn) not in SENDING:
        raise invalid(f"The destination {arn} is not a queue, a topic, a function or an event bus.")
    if not _may_send(context, arn, role):
        action = SENDING[_service(arn)]
        raise invalid(f"The function's execution role {role} does not have permissions to call {action} on {arn}")


def send_record(context: Context, arn: str, record: Json) -> None:
    """Send an invocation's record to a destination. `context` acts as the function's role. Raises AwsError, or
    botocore's errors (queues, topics)."""
    service, text = _service(arn), json.dumps(record)
    if service == "sqs":
        targets.send_message(context, arn.rpartition(":")[2], text)
    elif service == "sns":
        targets.client(context, "sns").publish(TopicArn=arn, Message=text)
    elif service == "lambda":
        context.call("lambda", "Invoke", FunctionName=arn, InvocationType="Event", Payload=text.encode())
    else:
        outcome = "Success" if record["requestContext"]["condition"] == "Success" else "Failure"
        entry = {
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {outcome}",
            "Resources": [arn, record["requestContext"]["functionArn"]],
            "Detail": text,
        }
        context.call("events", "PutEvents", Entries=[entry])


def send_dead_letter(context: Context, arn: str, event: str, request_id: str, status: int, message: str) -> None:
    """Send the event itself, with the reason in the message's attributes. Raises botocore's errors."""
    attributes: Json = {"RequestID": request_id, "ErrorCode": status, "ErrorMessage": message[:MAX_ERROR_MESSAGE]}
    if _service(arn) == "sqs":
        targets.send_message(context, arn.rpartition(":")[2], event, attributes)
    else:
        typed = targets.typed(attributes)
        targets.client(context, "sns").publish(TopicArn=arn, Message=event, MessageAttributes=typed)


def _may_send(context: Context, arn: str, role: str) -> bool:
    service = _service(arn)
    return enforcement.may(context.as_role(role), Call(f"{service}:{SENDING[service]}", arn))


def _service(arn: str) -> str:
    return arn.split(":")[2] if arn.count(":") >= 5 else ""
