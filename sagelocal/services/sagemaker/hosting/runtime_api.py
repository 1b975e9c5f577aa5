"""SageMaker Runtime: InvokeEndpoint, bytes in and bytes out. Each is counted, and captured where that is wanted."""

import time

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.registry import on_stop, operation
from sagelocal.services.cloudwatch import endpoints as metrics
from sagelocal.services.sagemaker.hosting import capture
from sagelocal.services.sagemaker.hosting.endpoint import NoEndpoint, NoInstance, Outcome, fleet

SERVICE = "sagemaker-runtime"
MAX_MESSAGE = 2048  # characters of ModelError's OriginalMessage
MAX_BODY_BYTES = 25 << 20  # https://docs.aws.amazon.com/general/latest/gr/sagemaker.html

HEADERS = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
NOT_RUN = ("TargetModel", "TargetContainerHostname", "InferenceComponentName", "SessionId")


@operation(SERVICE, "InvokeEndpoint")
def invoke_endpoint(context: Context, request: Json) -> Json:
    for member in NOT_RUN:
        if member in request:
            raise AwsError("ValidationError", f"The embedded SageMaker does not run {member}. Leave it out.", 400)
    endpoint, body = request["EndpointName"], request.get("Body", b"")
    if len(body) > MAX_BODY_BYTES:
        raise AwsError("ValidationError", f"Body has {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed.", 400)
    began = time.monotonic()
    headers = {"Content-Type": "application/octet-stream", "Accept": "*/*"}
    headers |= {header: request[member] for member, header in HEADERS.items() if member in request}
    try:
        outcome = fleet(context).invoke(endpoint, request.get("TargetVariant"), body, headers)
    except NoEndpoint as problem:
        raise AwsError("ValidationError", str(problem), 400) from None
    except NoInstance:
        raise AwsError("ServiceUnavailable", f"Endpoint {endpoint} has no healthy instance.", 503) from None
    metrics.note(
        context,
        endpoint=endpoint,
        variant=outcome.served.variant,
        instances=outcome.ready,
        status=outcome.answer.status if outcome.answer else 0,
        model_seconds=outcome.model_seconds,
        overhead_seconds=time.monotonic() - began - outcome.model_seconds,
        config=outcome.served.config,
    )
    answer = outcome.answer
    if answer is None:
        raise _model_error(context, endpoint, 0, _unanswered(outcome))
    if not 200 <= answer.status < 300:
        raise _model_error(context, endpoint, answer.status, answer.body.decode(errors="replace"))
    if outcome.served.capture:
        capture.recorder(context).take(outcome.served, request, answer)
    return {
        "Body": answer.body,
        "ContentType": answer.header("Content-Type") or "application/octet-stream",
        "InvokedProductionVariant": outcome.served.variant,
        "CustomAttributes": answer.header(HEADERS["CustomAttributes"]),
    }


@on_stop
def write_captured(context: Context) -> None:
    """What was captured and not yet written is written before the server ends."""
    capture.recorder(context).flush()


def _unanswered(outcome: Outcome) -> str:
    if isinstance(outcome.problem, TimeoutError):
        return "Your invocation timed out while waiting for a response from container primary."
    return f"The container ended the connection without an answer ({outcome.problem})."


def _model_error(context: Context, endpoint: str, status: int, text: str) -> AwsError:
    """AWS's ModelError: 424, with what the model's container said, of which a Retry-After header is no part."""
    text = text[:MAX_MESSAGE]
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    side = "client" if 400 <= status < 500 else "server"
    message = f'Received {side} error ({status}) from primary with message "{text}". See {group} for more information.'
    members = {
        "OriginalStatusCode": status,
        "OriginalMessage": text,
        "LogStreamArn": context.arn("logs", f"log-group:{group}"),
    }
    return AwsError("ModelError", message, 424, members)
