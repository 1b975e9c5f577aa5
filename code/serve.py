"""The endpoint: GET /ping and POST /invocations on SAGEMAKER_BIND_TO_PORT, with the model in SM_MODEL_DIR.

    python code/serve.py [--model-dir DIR] [--host 127.0.0.1] [--port 8080]

Binds 127.0.0.1 unless told otherwise (--host, or PAWLINE_BIND in the container's environment). breeds.serving answers
the requests; this is the queue in front of it, with the limits PAWLINE_MAX_QUEUE and PAWLINE_DEADLINE_SECONDS.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

sys.path.insert(0, str(Path(__file__).resolve().parent))

from breeds.base import container  # noqa: E402
from breeds.serving import inference
from breeds.serving.service import Refused, Service, check, limit  # noqa: E402

RETRY_AFTER_SECONDS = "1"
KEEP_ALIVE_SECONDS = 75  # longer than clients keep idle connections: a server that closes first breaks a request
LONGEST_SHUTDOWN = 25  # SageMaker kills a container 30 s after SIGTERM


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may wait, and how long."""

    max_queue: int = 32  # requests that wait for a worker; past them 503
    deadline_seconds: float = 20.0  # from a request's first byte to its answer; then 504

    def __post_init__(self) -> None:
        if self.max_queue < 0 or not self.deadline_seconds > 0:
            raise container.InputError(
                f"PAWLINE_MAX_QUEUE={self.max_queue} and PAWLINE_DEADLINE_SECONDS={self.deadline_seconds:g} "
                "make no sense.",
                "Give a number of requests from 0 and a number of seconds above 0.",
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Limits":
        """Raises InputError for what is no number."""
        try:
            return cls(
                max_queue=int(environment.get("PAWLINE_MAX_QUEUE", cls.max_queue)),
                deadline_seconds=float(environment.get("PAWLINE_DEADLINE_SECONDS", cls.deadline_seconds)),
            )
        except ValueError as error:
            if isinstance(error, container.InputError):
                raise
            raise container.InputError(
                f"A limit is no number: {error}.", "Look at PAWLINE_MAX_QUEUE and PAWLINE_DEADLINE_SECONDS."
            ) from None


class Front:
    """The bounded queue before a Service. All of it runs on the event loop but for the work itself."""

    def __init__(self, service: Service, workers: int, limits: Limits):
        self.service, self.limits = service, limits
        self._pool = ThreadPoolExecutor(workers, "worker")
        self._room = workers + limits.max_queue

    async def answer(self, request: Request) -> Response:
        """200, 400, 413, 415, 503 (queue full, with Retry-After) or 504 (deadline), each with JSON."""
        if self._room == 0:
            refused = "more requests wait than this instance takes: try again"
            return JSONResponse({"error": refused}, status_code=503, headers={"Retry-After": RETRY_AFTER_SECONDS})
        self._room -= 1
        try:
            async with asyncio.timeout(self.limits.deadline_seconds):
                content_type = request.headers.get("content-type", "")
                body = await read(request, content_type)
                # When time is out this is cancelled: what no worker has begun is never begun.
                work = asyncio.get_running_loop().run_in_executor(self._pool, self.service.answer, body, content_type)
                status, answer = await work
        except Refused as refused:
            status, answer = refused.status, {"error": refused.reason}
        except TimeoutError:
            status, answer = 504, {"error": f"no answer within {self.limits.deadline_seconds:g} s"}
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        finally:
            self._room += 1
        return JSONResponse(answer, status_code=status)


async def read(request: Request, content_type: str) -> bytes:
    """The body, never more of it than its content type allows. Raises Refused."""
    allowed = limit(content_type)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > allowed:
            break
    check(content_type, len(body))
    return bytes(body)


def create_app(service: Service, workers: int, limits: Limits) -> FastAPI:
    """The web application of a service that is loaded and warm: once /ping answers, images may be sent."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    front = Front(service, workers, limits)

    async def ping(_request: Request) -> Response:
        return Response(status_code=200)

    # Plain routes: FastAPI's own would look for parameters in each request.
    app.add_route("/ping", ping, methods=["GET"])
    app.add_route("/invocations", front.answer, methods=["POST"])
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, default=Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")))
    parser.add_argument("--host", default=os.environ.get("PAWLINE_BIND", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")))
    arguments = parser.parse_args()
    limits = Limits.from_environment(os.environ)
    predictor = inference.load(arguments.model_dir)
    predictor.warm_up()
    # On SIGTERM uvicorn stops accepting and finishes what it has.
    uvicorn.run(
        create_app(Service(predictor), predictor.network.workers, limits),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=min(LONGEST_SHUTDOWN, round(limits.deadline_seconds) + 1),
    )


if __name__ == "__main__":
    container.run(main)
