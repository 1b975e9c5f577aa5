"""Predict Lambda: a picture, or the URL of one, becomes dog breeds with their probabilities."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from classifier import classify, runtime_client
from errors import InternalError, PredictError
from guard import Picture, fetch
from messages import Request, failure, read_request, success
from pictures import check_picture
from settings import Settings

SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "pawline-predict")

logger = Logger(service=SERVICE)
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Pawline"), service=SERVICE)
# Traces go to a daemon that Lambda names; where there is none, there is nothing to trace to.
tracer = Tracer(service=SERVICE, disabled="AWS_XRAY_DAEMON_ADDRESS" not in os.environ, patch_modules=["botocore"])

settings = cache(Settings.from_environment)


@logger.inject_lambda_context(log_event=False)
@tracer.capture_lambda_handler(capture_response=False, capture_error=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """200 with the breeds, or the status and code of the PredictError; see `messages` for the shapes."""
    try:
        request = read_request(event)
        runtime = _runtime(context)
        answer = classify(_picture(request), request.top_k, runtime, settings())
    except PredictError as error:
        return _refusal(event, error)
    except Exception:
        logger.exception("unexpected failure")
        return _refusal(event, InternalError("Something went wrong here. Try again later."))
    logger.info("answered", extra={"unsure": answer["unsure"], "by": "url" if request.url else "image"})
    metrics.add_metric(name="Answered", unit=MetricUnit.Count, value=1)
    return success(event, answer)


def _refusal(event: Any, error: PredictError) -> dict[str, Any]:
    logger.warning("refused", extra={"status": error.status, "code": error.code, "reason": str(error)})
    metrics.add_metric(name=error.code, unit=MetricUnit.Count, value=1)
    return failure(event, error)


def _picture(request: Request) -> Picture:
    if request.image is not None:
        return Picture(request.image, check_picture(request.image))
    return fetch(request.url or "", allow_http=settings().allow_http)


_clients: dict[str, Any] = {}


def _runtime(context: Any) -> Any:
    """Made at the first request, when all of the function's time is left."""
    if "runtime" not in _clients:
        _clients["runtime"] = runtime_client(context.get_remaining_time_in_millis() / 1000)
    return _clients["runtime"]
