"""Ask the endpoint for a picture's breeds, and turn every way it can fail into one of ours."""

from __future__ import annotations

import json
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError
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
from guard import SECONDS as FETCH_SECONDS
from guard import Picture
from settings import Settings

ENDPOINT_BODY_BYTES = 6 * 1024 * 1024
ATTEMPTS = 2
CONNECT_SECONDS = 1.0
RESERVE_SECONDS = 1.0
LONGEST_ANSWER_SECONDS = 60.0


def runtime_client(function_seconds: float) -> Any:
    """A client whose attempts, after the longest fetch, all end before the function's own time limit does.

    `function_seconds`: the function's time limit. SageMaker itself cuts an answer off after 60 seconds.
    """
    available = (function_seconds - FETCH_SECONDS - RESERVE_SECONDS) / ATTEMPTS - CONNECT_SECONDS
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=min(max(available, 1.0), LONGEST_ANSWER_SECONDS),
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return boto3.client("sagemaker-runtime", config=config)


def classify(picture: Picture, top_k: int, runtime: Any, settings: Settings) -> dict[str, Any]:
    """`{"predictions": [{"breed", "probability"}, …], "model": {…}, "unsure": bool}`, at most `top_k` breeds.

    Raises ImageTooLarge, NotAnImage, UnreadableImage, Throttled, ModelFailed, EndpointUnavailable, ModelTimedOut.
    """
    if len(picture.data) > ENDPOINT_BODY_BYTES:
        raise ImageTooLarge("The image has more than 6 MB, the most that an endpoint accepts. Send a smaller one.")
    try:
        response = runtime.invoke_endpoint(
            EndpointName=settings.endpoint_name,
            ContentType=picture.content_type,
            Accept="application/json",
            Body=picture.data,
        )
        body = response["Body"].read()
    except ClientError as error:
        raise _from_aws(error) from error
    except (ReadTimeoutError, ConnectTimeoutError) as error:
        raise ModelTimedOut("The model did not answer in time. Try again later.") from error
    except BotoCoreError as error:
        raise EndpointUnavailable("The model cannot be reached. Try again later.") from error
    return _answer(body, top_k, settings.confidence_floor)


def _answer(body: bytes, top_k: int, confidence_floor: float) -> dict[str, Any]:
    try:
        content = json.loads(body)
        predictions: list[dict[str, Any]] = [
            {"breed": str(prediction["breed"]), "probability": float(prediction["probability"])}
            for prediction in content["predictions"]
        ]
        top = predictions[0]["probability"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelFailed("The model's answer is no list of breeds. Look at the endpoint's logs.") from error
    return {
        "predictions": predictions[:top_k],
        "model": content.get("model", {}),
        "unsure": top < confidence_floor,
    }


def _from_aws(error: ClientError) -> PredictError:
    """InvokeEndpoint's errors: API reference of SageMaker Runtime. A ModelError carries the container's own status."""
    code = error.response.get("Error", {}).get("Code", "")
    if code == "ModelError":
        return _from_model(cast(int, error.response.get("OriginalStatusCode", 500)))
    if "Throttl" in code or code == "TooManyRequestsException":
        return Throttled("The model is busy. Try again in a moment.")
    if code in ("ModelNotReadyException", "ServiceUnavailable", "ServiceUnavailableException"):
        return EndpointUnavailable("The model is not ready. Try again in a moment.")
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
        return EndpointUnavailable("The model is not ready. Try again in a moment.")
    if status == 504:
        return ModelTimedOut("The model did not answer in time. Try again later.")
    return ModelFailed("The model failed on this image. Look at the endpoint's logs.")
