"""One handler per resource type: how it is made, changed and deleted, mostly by calling the operations of a service."""

from embedded.cloudformation.resources import awslambda, cloudwatch, events, iam, messaging, recorded, s3, sagemaker
from embedded.cloudformation.resources.base import Handler

HANDLERS: dict[str, Handler] = {
    handler.type: handler
    for module in (awslambda, cloudwatch, events, iam, messaging, recorded, s3, sagemaker)
    for handler in module.HANDLERS
}
