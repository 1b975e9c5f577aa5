"""AWS::SQS::Queue and AWS::SNS::Topic, their policies and subscriptions.

Queues and topics are moto's, which keeps them in memory and takes a second to load. So the stack is what remembers
them: they are made in moto when it is first needed, and made again after a restart.
"""

import sys
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.core.registry import on_moto
from sagelocal.core.store import Kind
from sagelocal.services.cloudformation.recorded import Recorded
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, register

RECORD = Kind[Json]("queue-or-topic")  # by its ARN: Arn, Service (sqs or sns) and Name
LOADED = "moto.moto_server.werkzeug_app"  # moto's server is up when this module is there


class Queue(Handler):
    type = "AWS::SQS::Queue"
    fixed = frozenset({"QueueName", "FifoQueue"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        queue = properties.get("QueueName", name)
        arn = _remember(context, "sqs", queue)
        url = f"https://sqs.{context.region}.amazonaws.com/{context.account}/{queue}"
        return PhysicalResource(url, {"Arn": arn, "QueueName": queue, "QueueUrl": url})

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        _forget(context, made.attributes["Arn"])


class Topic(Handler):
    type = "AWS::SNS::Topic"
    fixed = frozenset({"TopicName", "FifoTopic"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        topic = properties.get("TopicName", name)
        arn = _remember(context, "sns", topic)
        return PhysicalResource(arn, {"TopicArn": arn, "TopicName": topic})

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        _forget(context, made.physical_id)


@on_moto
def make_all(context: Context) -> None:
    """Give moto every queue and topic that stacks have made."""
    for body in context.store.list(RECORD):
        _make(context, body)


def _remember(context: Context, service: str, name: str) -> str:
    """Keep it, and make it in moto where that runs; its ARN."""
    body: Json = {"Arn": context.arn(service, name), "Service": service, "Name": name}
    context.store.put(RECORD, body["Arn"], body)
    if LOADED in sys.modules:
        _make(context, body)
    return str(body["Arn"])


def _forget(context: Context, arn: str) -> None:
    body = context.store.get(RECORD, arn)
    context.store.delete(RECORD, arn)
    if not body or LOADED not in sys.modules:
        return
    backend = _backend(context, body["Service"])
    if body["Service"] == "sqs" and body["Name"] in backend.queues:
        backend.delete_queue(body["Name"])
    elif body["Service"] == "sns" and arn in backend.topics:
        backend.delete_topic(arn)


def _make(context: Context, body: Json) -> None:
    backend = _backend(context, body["Service"])
    if body["Service"] == "sqs" and body["Name"] not in backend.queues:
        backend.create_queue(body["Name"])
    elif body["Service"] == "sns" and body["Arn"] not in backend.topics:
        backend.create_topic(body["Name"])


def _backend(context: Context, service: str) -> Any:
    # moto takes a second to import: only who has queues or topics waits for it
    if service == "sqs":
        from moto.sqs.models import sqs_backends

        return sqs_backends[context.account][context.region]
    from moto.sns.models import sns_backends

    return sns_backends[context.account][context.region]


register(
    Queue(),
    Topic(),
    Recorded("AWS::SQS::QueuePolicy"),
    Recorded("AWS::SNS::TopicPolicy"),
    Recorded("AWS::SNS::Subscription", fixed={"TopicArn", "Protocol", "Endpoint"}),
)
