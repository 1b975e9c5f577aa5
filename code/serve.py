"""The endpoint: GET /ping and POST /invocations on SAGEMAKER_BIND_TO_PORT, with the model in SM_MODEL_DIR.

    python code/serve.py [--model-dir DIR] [--host 0.0.0.0] [--port 8080]

Binds 127.0.0.1 unless told otherwise (--host, or PAWLINE_BIND in the container's environment).
"""

import argparse
import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

sys.path.insert(0, str(Path(__file__).resolve().parent))

from breeds import container, images, inference  # noqa: E402

CONTENT_TYPES = ("image/jpeg", "image/png", "application/x-image")
MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 50_000_000


class Refused(Exception):
    """A request that cannot be answered, with the status code and the reason that go back."""

    def __init__(self, status: int, reason: str):
        self.status, self.reason = status, reason
        super().__init__(reason)


def create_app(predictor: inference.Predictor) -> FastAPI:
    """The application, around a predictor that is loaded and warm: whoever gets through to /ping may send images."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # One prediction at a time: each uses all cores already.
    one_at_a_time = ThreadPoolExecutor(1)

    @app.get("/ping")
    async def ping() -> Response:
        return Response(status_code=200)

    @app.post("/invocations")
    async def invocations(request: Request) -> JSONResponse:
        body = await read_image(request)
        answer = await asyncio.get_running_loop().run_in_executor(one_at_a_time, predict, predictor, body)
        return JSONResponse(answer)

    @app.exception_handler(Refused)
    async def refuse(_request: Request, refused: Refused) -> JSONResponse:
        return JSONResponse({"error": refused.reason}, status_code=refused.status)

    return app


async def read_image(request: Request) -> bytes:
    """The request's body. Raises Refused: 415 for another content type, 413 over MAX_BYTES, 400 for nothing."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise Refused(415, f"content type {content_type or '(none)'!r} is not one of {', '.join(CONTENT_TYPES)}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Refused(413, f"the image is larger than {MAX_BYTES // 1024 // 1024} MiB")
    if not body:
        raise Refused(400, "the request has no body")
    return bytes(body)


def predict(predictor: inference.Predictor, body: bytes) -> dict[str, Any]:
    """The answer of docs/formats.md. Raises Refused: 400 for bytes that are no whole image, or one too large."""
    try:
        image = images.decode(body, max_pixels=MAX_PIXELS, shrink_to=images.resize_for(predictor.image_size))
    except images.Rejected as error:
        raise Refused(400, f"not a readable image: {error}") from None
    info = predictor.info
    return {
        "predictions": [{"breed": p.breed, "probability": p.probability} for p in predictor.predict(image)],
        "model": {
            "backbone": info["backbone"],
            "trained_at": info["trained_at"],
            "validation_accuracy": info["metrics"]["validation:accuracy"],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, default=Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")))
    parser.add_argument("--host", default=os.environ.get("PAWLINE_BIND", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    arguments = parser.parse_args()
    predictor = inference.load(arguments.model_dir)
    predictor.warm_up()
    # On SIGTERM uvicorn stops accepting and finishes what it has.
    uvicorn.run(
        create_app(predictor),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        timeout_graceful_shutdown=20,
    )


if __name__ == "__main__":
    container.run(main)
