"""What the endpoint answers, without its web server: a request's bytes and content type in, a status and JSON out.

serve.py and the Ray Serve adapter are thin over this; queues, deadlines and headers are theirs.
"""

import base64
import binascii
import json
from email.message import Message
from typing import Any, Protocol

import numpy as np

from breeds.data import images
from contract import pictures

ONE_IMAGE = ("image/jpeg", "image/png", "application/x-image")
BATCH = ("application/json", "multipart/form-data")
MAX_BYTES = 10 * 1024 * 1024  # of one image
MAX_BATCH_BYTES = 25 * 1024 * 1024  # of a whole request; SageMaker's own limit for InvokeEndpoint
MAX_IMAGES = 64  # in one request
MAX_PIXELS = pictures.MAX_PIXELS
TOP = 5

Answer = tuple[int, dict[str, Any]]


class Refused(Exception):
    """A request, or one image of a batch, that cannot be answered: the status code and the reason that go back."""

    def __init__(self, status: int, reason: str):
        self.status, self.reason = status, reason
        super().__init__(reason)


class Predicts(Protocol):
    """What is needed of `inference.Predictor`."""

    info: dict[str, Any]
    classes: list[str]

    def view(self, data: bytes, max_pixels: int) -> np.ndarray: ...
    def answers(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]: ...


class Service:
    """Answers requests with a loaded predictor; safe to call from several threads."""

    def __init__(self, predictor: Predicts):
        self.predictor = predictor
        info = predictor.info
        self._model = {
            "backbone": info["backbone"],
            "trained_at": info["trained_at"],
            "validation_accuracy": info["metrics"]["validation:accuracy"],
        }

    def answer(self, body: bytes, content_type: str) -> Answer:
        """(status, JSON) as docs/formats.md has it: 200, 400, 413 or 415; never raises for what a client sent."""
        try:
            kind = check(content_type, len(body))
            if kind in ONE_IMAGE:
                (predictions, doubt), *_ = self._predict([self._view(body)])
                return 200, {"predictions": predictions, **doubt, "model": self._model}
            found = from_json(body) if kind == "application/json" else from_multipart(body, content_type)
            return 200, self._batch(found) | {"model": self._model}
        except Refused as refused:
            return refused.status, {"error": refused.reason}

    def _batch(self, found: list[bytes | Refused]) -> dict[str, list[Any]]:
        """Per image its predictions, or {"error": …} for one that cannot be read: the others are answered. Beside them
        `known` and `unknown_score` per image, null for such a one, where the model gives them."""
        if not found:
            raise Refused(400, "the request holds no image")
        if len(found) > MAX_IMAGES:
            raise Refused(413, f"the request holds {len(found)} images; at most {MAX_IMAGES} are answered at once")
        answers: list[Any] = []
        views = []
        for data in found:
            try:
                if isinstance(data, Refused):
                    raise data
                views.append(self._view(data))
                answers.append(None)
            except Refused as refused:
                answers.append({"error": refused.reason})
        predicted = self._predict(views)
        remaining = iter(predicted)
        answered = [next(remaining) if answer is None else (answer, {}) for answer in answers]
        names = predicted[0][1] if predicted else {}
        per_image = {name: [doubt.get(name) for _, doubt in answered] for name in names}
        return {"predictions": [answer for answer, _ in answered], **per_image}

    def _view(self, data: bytes) -> np.ndarray:
        """uint8 [image_size, image_size, 3]. Raises Refused."""
        if len(data) > MAX_BYTES:
            raise Refused(413, f"the image is larger than {MAX_BYTES // 1024 // 1024} MiB")
        try:
            return self.predictor.view(data, MAX_PIXELS)
        except images.TooLarge as error:
            raise Refused(413, f"the image is too large: {error}") from None
        except images.Rejected as error:
            raise Refused(400, f"not a readable image: {error}") from None

    def _predict(self, views: list[np.ndarray]) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
        """For each view its TOP most probable breeds, most probable first, and its `known` and `unknown_score`."""
        if not views:
            return []
        probabilities, scores = self.predictor.answers(np.stack(views))
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
        classes = self.predictor.classes
        predictions = [
            [{"breed": classes[i], "probability": float(row[i])} for i in order]
            for row, order in zip(probabilities, best, strict=True)
        ]
        doubts = [{}] * len(views) if scores is None else [_doubt(float(score)) for score in scores]
        return list(zip(predictions, doubts, strict=True))


def _doubt(score: float) -> dict[str, Any]:
    return {"known": score <= 0, "unknown_score": round(score, 4)}


def media_type(content_type: str) -> str:
    """Lower case, without its parameters: `IMAGE/PNG; charset=binary` is image/png."""
    return content_type.partition(";")[0].strip().lower()


def limit(content_type: str) -> int:
    """Bytes that a body of this content type may have: a front can stop reading there. Raises Refused with 415."""
    kind = media_type(content_type)
    if kind not in ONE_IMAGE + BATCH:
        raise Refused(415, f"content type {kind or '(none)'!r} is not one of {', '.join(ONE_IMAGE + BATCH)}")
    return MAX_BYTES if kind in ONE_IMAGE else MAX_BATCH_BYTES


def check(content_type: str, size: int) -> str:
    """The media type. Raises Refused: 415 for another content type, 413 over its limit, 400 for nothing."""
    allowed, kind = limit(content_type), media_type(content_type)
    if size > allowed:
        what = "image" if kind in ONE_IMAGE else "request"
        raise Refused(413, f"the {what} is larger than {allowed // 1024 // 1024} MiB")
    if not size:
        raise Refused(400, "the request has no body")
    return kind


def from_json(body: bytes) -> list[bytes | Refused]:
    """The images of {"images": [base64, …]}; a Refused in the place of one that is no base64. Raises Refused."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    listed = document.get("images") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise Refused(400, 'the body must be {"images": [base64, …]}')
    return [_from_base64(entry) for entry in listed]


def _from_base64(entry: Any) -> bytes | Refused:
    try:
        return base64.b64decode(entry, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return Refused(400, "not base64 text")


def from_multipart(body: bytes, content_type: str) -> list[bytes | Refused]:
    """The parts' content, whatever their names (RFC 7578, RFC 2046 section 5.1). Raises Refused."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70:
        raise Refused(400, "the multipart content type has no boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    sections = (b"\r\n" + body).split(delimiter)[1:]
    if not sections or not sections[-1].startswith(b"--"):
        raise Refused(400, "the multipart body is not whole: its closing boundary is missing")
    found: list[bytes | Refused] = []
    for section in sections[:-1]:
        # A boundary line may end in blanks; headers end at an empty line, and there may be none.
        headers, separator, content = section.lstrip(b" \t").partition(b"\r\n\r\n")
        if not separator or not headers.startswith(b"\r\n") and headers:
            raise Refused(400, "the multipart body is damaged: a part has no headers")
        found.append(content)
    return found
