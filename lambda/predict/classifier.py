"""Ask the endpoint for a picture's breeds, and turn every way it can fail into one of ours."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from budget import CONNECT_SECONDS, Budget
from errors import (
    EndpointUnavailable,
    ImageTooLarge,
    ModelFailed,
    ModelTimedOut,
    NotAnImage,
    PredictError,
    Throttled,
    UnreadableImage,
)
from guard import Picture
from settings import Settings

# The smallest limit on a body that SageMaker has, that of serverless endpoints; instances accept more.
LEAST_BODY_LIMIT = 4 * 1024 * 1024
PAUSE_SECONDS = (0.05, 0.25)
HICCUPS = (ConnectTimeoutError, EndpointConnectionError, ConnectionClosedError)
UNAVAILABLE_CODES = ("ServiceUnavailable", "ServiceUnavailableException", "InternalDependencyException")
HICCUP_CODES = (*UNAVAILABLE_CODES, "InternalFailure")


def runtime_client(budget: Budget) -> Any:
    """A client that does not retry by itself: it would also retry what was slow, when the endpoint needs rest most."""
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=budget.read, retries={"total_max_attempts": 1})
    return boto3.client("sagemaker-runtime", config=config)


def classify(
    picture: Picture, top_k: int, runtime: Any, settings: Settings, may_retry: Callable[[], bool]
) -> dict[str, Any]:
    """`{"predictions": [{"breed", "probability"}, …], "model": {…}, "unsure": bool}`, at most `top_k` breeds; an answer
    that is unsure has a `note` for people. `may_retry`: whether one more attempt ends in time.

    Raises ImageTooLarge, NotAnImage, UnreadableImage, Throttled, ModelFailed, EndpointUnavailable, ModelTimedOut.
    """
    try:
        body = _invoke(picture, runtime, settings.endpoint_name, may_retry)
    except ClientError as error:
        raise _from_aws(error, len(picture.data)) from error
    except (ReadTimeoutError, ConnectTimeoutError) as error:
        raise ModelTimedOut("The model did not answer in time. Try again later.") from error
    except BotoCoreError as error:
        raise EndpointUnavailable("The model cannot be reached. Try again later.") from error
    return _answer(body, top_k, settings.confidence_floor)


def _invoke(picture: Picture, runtime: Any, endpoint_name: str, may_retry: Callable[[], bool]) -> bytes:
    """The endpoint's answer; one retry, and only after a failure that is quick and passes."""

    def attempt() -> bytes:
        response = runtime.invoke_endpoint(
            EndpointName=endpoint_name, ContentType=picture.content_type, Accept="application/json", Body=picture.data
        )
        return response["Body"].read()

    try:
        return attempt()
    except (ClientError, *HICCUPS) as error:
        if isinstance(error, ClientError) and _code(error) not in HICCUP_CODES or not may_retry():
            raise
    time.sleep(random.uniform(*PAUSE_SECONDS))
    return attempt()


def _answer(body: bytes, top_k: int, confidence_floor: float) -> dict[str, Any]:
    try:
        content = json.loads(body)
        predictions: list[dict[str, Any]] = [
            {"breed": str(prediction["breed"]), "probability": float(prediction["probability"])}
            for prediction in content["predictions"]
        ]
        top = predictions[0]["probability"]
        # NaN is no JSON: an answer with one in it could not be sent on.
        if not all(math.isfinite(prediction["probability"]) for prediction in predictions):
            raise ValueError
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ModelFailed("The model's answer is no list of breeds. Look at the endpoint's logs.") from error
    model = content.get("model")
    model = model if isinstance(model, dict) else {}
    answer = {"predictions": predictions[:top_k], "model": model, "unsure": False}
    if note := _doubt(top, content.get("known"), confidence_floor):
        answer |= {"unsure": True, "note": note}
    return answer


def _doubt(top: float, known: Any, confidence_floor: float) -> str:
    """Why not to trust the answer; empty without a reason. `known`: the model's own verdict, where it gives one."""
    if known is False:
        return "This does not look like a dog of a breed that the model knows. Do not trust the breeds."
    if top < confidence_floor:
        return f"The model is unsure: no breed reaches a probability of {confidence_floor:g}. Try a clearer photo."
    return ""


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _from_aws(error: ClientError, size: int) -> PredictError:
    """InvokeEndpoint's errors: API reference of SageMaker Runtime. A ModelError carries the container's own status."""
    code = _code(error)
    if code == "ModelError":
        return _from_model(cast(int, error.response.get("OriginalStatusCode", 500)))
    if "Throttl" in code or code == "TooManyRequestsException":
        return Throttled("The model is busy. Try again in a moment.")
    if code == "ModelNotReadyException" or code in UNAVAILABLE_CODES:
        return EndpointUnavailable("The model is not ready. Try again in a moment.")
    http_status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if http_status == 413 or code in ("ValidationError", "ValidationException") and size > LEAST_BODY_LIMIT:
        return ImageTooLarge("The image has more bytes than the endpoint accepts. Send a smaller one.")
    if code in ("ValidationError", "ValidationException"):
        return EndpointUnavailable("The model's endpoint is not in service. Deploy it, or try again later.")
    return ModelFailed("The model's endpoint failed. Look at the function's and the endpoint's logs.")


def _from_model(status: int) -> PredictError:
    if status == 413:
        return ImageTooLarge("The image is larger than the model accepts. Send a smaller one.")
    if status == 415:
        return NotAnImage("The model does not accept this type of image. Send a JPEG or PNG.")
    if 400 <= status < 500 and status != 429:
        return UnreadableImage("The model cannot decode this image. Check the file.")
    if status == 429:
        return Throttled("The model is busy. Try again in a moment.")
    if status == 503:
        return EndpointUnavailable("The model is busy or not ready. Try again in a moment.")
    if status == 504:
        return ModelTimedOut("The model did not answer in time. Try again later.")
    return ModelFailed("The model failed on this image. Look at the endpoint's logs.")
