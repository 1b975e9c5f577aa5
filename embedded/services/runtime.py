"""SageMaker Runtime: InvokeEndpoint, bytes in and bytes out."""

from embedded.context import Context
from embedded.errors import AwsError
from embedded.jobs.endpoint import NoEndpoint, NoInstance, fleet
from embedded.jobs.instance import BrokenOff
from embedded.services import operation

SERVICE = "sagemaker-runtime"
MAX_BODY_BYTES = 25 << 20  # https://docs.aws.amazon.com/general/latest/gr/sagemaker.html

HEADERS = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
NOT_RUN = ("TargetModel", "TargetContainerHostname", "InferenceComponentName", "SessionId")


@operation(SERVICE, "InvokeEndpoint")
def invoke_endpoint(context: Context, request: dict) -> dict:
    for member in NOT_RUN:
        if member in request:
            raise AwsError("ValidationError", f"The embedded SageMaker does not run {member}. Leave it out.", 400)
    endpoint, body = request["EndpointName"], request.get("Body", b"")
    if len(body) > MAX_BODY_BYTES:
        raise AwsError("ValidationError", f"Body has {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed.", 400)
    headers = {"Content-Type": "application/octet-stream", "Accept": "*/*"}
    headers |= {header: request[member] for member, header in HEADERS.items() if member in request}
    try:
        variant, answer = fleet(context).invoke(endpoint, request.get("TargetVariant"), body, headers)
    except NoEndpoint as problem:
        raise AwsError("ValidationError", str(problem), 400) from None
    except NoInstance:
        raise AwsError("ServiceUnavailable", f"Endpoint {endpoint} has no healthy instance.", 503) from None
    except TimeoutError:
        text = "Your invocation timed out while waiting for a response from container primary."
        raise _model_error(context, endpoint, 0, text) from None
    except BrokenOff as problem:
        text = f"The container ended the connection without an answer ({problem})."
        raise _model_error(context, endpoint, 0, text) from None
    if not 200 <= answer.status < 300:
        raise _model_error(context, endpoint, answer.status, answer.body.decode(errors="replace"))
    return {
        "Body": answer.body,
        "ContentType": answer.header("Content-Type") or "application/octet-stream",
        "InvokedProductionVariant": variant,
        "CustomAttributes": answer.header(HEADERS["CustomAttributes"]),
    }


def _model_error(context: Context, endpoint: str, status: int, text: str) -> AwsError:
    """AWS's ModelError: 424, with what the model's container said."""
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    side = "client" if 400 <= status < 500 else "server"
    message = f'Received {side} error ({status}) from primary with message "{text}". See {group} for more information.'
    members = {
        "OriginalStatusCode": status,
        "OriginalMessage": text,
        "LogStreamArn": context.arn("logs", f"log-group:{group}"),
    }
    return AwsError("ModelError", message, 424, members)
