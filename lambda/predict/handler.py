"""Predict Lambda: a picture, or the URL of one, becomes dog breeds with their probabilities."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from budget import Budget
from classifier import classify, runtime_client
from errors import InternalError, PredictError
from guard import Picture, fetch
from messages import Request, failure, read_request, success
from pictures import check_picture
from settings import Settings
from tracebacks import kind, traceback_of

SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "pawline-predict")

logger = Logger(service=SERVICE)
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Pawline"), service=SERVICE)
# Traces go to a daemon that Lambda names. Where there is none, loading X-Ray would double the cold start for nothing.
tracer = Tracer(service=SERVICE, patch_modules=["botocore"]) if "AWS_XRAY_DAEMON_ADDRESS" in os.environ else None
traced = (
    tracer.capture_lambda_handler(capture_response=False, capture_error=False) if tracer else lambda handler: handler
)

# At DEBUG, which a setting of the function can turn on for all, these write whole requests, pictures and all.
for library in ("boto3", "botocore", "urllib3"):
    logging.getLogger(library).setLevel(logging.WARNING)

settings = cache(Settings.from_environment)


@logger.inject_lambda_context(log_event=False)
@traced
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """200 with the breeds, or the status and code of the PredictError; see `messages` for the shapes."""
    try:
        answer = _predict(read_request(event), context)
        reply = success(event, answer)
    except PredictError as error:
        return _refusal(event, error)
    except Exception as error:
        logger.error("unexpected failure", extra={"traceback": traceback_of(error)})
        return _refusal(event, InternalError("Something went wrong here. Try again later."))
    logger.info("answered", extra={"unsure": answer["unsure"]})
    _count("Unsure" if answer["unsure"] else "Sure", 200)
    return reply


def _predict(request: Request, context: Any) -> dict[str, Any]:
    runtime, budget = _endpoint(context)
    with _timed("PictureTime"):
        picture = _picture(request, budget.fetch)
    with _timed("ModelTime"):
        return classify(picture, request.top_k, runtime, settings(), lambda: _seconds_left(context) > budget.attempt)


def _picture(request: Request, seconds: float) -> Picture:
    if request.image is not None:
        return Picture(request.image, check_picture(request.image))
    return fetch(request.url or "", allow_http=settings().allow_http, seconds=seconds)


_made: dict[str, tuple[Any, Budget]] = {}


def _endpoint(context: Any) -> tuple[Any, Budget]:
    """The endpoint's client and the time it may take: made at the first request, when all of the time is left."""
    if "endpoint" not in _made:
        budget = Budget.of(_seconds_left(context))
        _made["endpoint"] = runtime_client(budget), budget
    return _made["endpoint"]


def _seconds_left(context: Any) -> float:
    return context.get_remaining_time_in_millis() / 1000


def _refusal(event: Any, error: PredictError) -> dict[str, Any]:
    cause = {"cause": kind(error.__cause__)} if error.__cause__ else {}
    logger.warning("refused", extra={"status": error.status, "code": error.code, "reason": str(error)} | cause)
    _count(error.code, error.status)
    return failure(event, error)


def _count(outcome: str, status: int) -> None:
    metrics.add_metric(name=outcome, unit=MetricUnit.Count, value=1)
    if tracer:
        tracer.put_annotation("outcome", outcome)
        tracer.put_annotation("status", str(status))


@contextmanager
def _timed(name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=1000 * (time.perf_counter() - began))
