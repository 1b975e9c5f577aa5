"""The HTTP front: finds the service a request is for and hands it on.

Services with operations in `services/` answer here; S3 has its own REST handler; whatever nobody answers goes to moto.
"""

import io
import re
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from werkzeug.wrappers import Request, Response

from embedded import VERSION, aws, services, wire
from embedded.context import Context
from embedded.errors import AwsError

HEALTH_PATH = "/_embedded/health"
STOP_PATH = "/_embedded/stop"

SERVICE_BY_SIGNING_NAME = {"monitoring": "cloudwatch"}
OURS_ALONE = ("sagemaker", "sagemaker-runtime", "lambda", "application-autoscaling")  # moto knows none of what is here
UNSIGNED = "s3"  # a request without a signature is a presigned or public S3 request


class Application:
    """The WSGI application of one embedded account."""

    def __init__(self, context: Context, on_stop: Callable[[], None]):
        self.context = context
        self.on_stop = on_stop
        services.load_all()
        self.native = {service for service, _ in services.OPERATIONS}
        self._moto: Any = None
        self._moto_lock = threading.Lock()

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        request = Request(environ)
        if request.path.startswith("/_embedded/"):
            return self._own_page(request)(environ, start_response)
        service = service_of(request)
        if service == "s3":
            from embedded.services import s3

            return s3.handle(self.context, request)(environ, start_response)
        if service in self.native:
            response = self._answer(service, request)
            if response is not None:
                return response(environ, start_response)
        environ["wsgi.input"] = io.BytesIO(request.get_data())  # the body may have been read to see what is asked
        return self._moto_app()(environ, start_response)

    def _answer(self, service: str, request: Request) -> Response | None:
        """The native answer, or None where moto should have a go at an operation that is not ours."""
        try:
            if aws.service_model(service).metadata["protocol"] == "json":
                operation, parameters = wire.parse_json(service, request)
            else:
                operation, parameters = wire.parse_rest(service, request)
            if (service, operation) not in services.OPERATIONS and service not in OURS_ALONE:
                return None
            return wire.answer(service, operation, services.dispatch(self.context, service, operation, parameters))
        except AwsError as problem:
            return wire.error(problem)
        except Exception as problem:
            print(f"{service}:\n{traceback.format_exc()}", flush=True)
            return wire.error(AwsError("InternalFailure", f"{type(problem).__name__}: {problem}", 500))

    def _own_page(self, request: Request) -> Response:
        if request.path == STOP_PATH and request.method == "POST":
            self.on_stop()
            return Response("stopping\n")
        if request.path == HEALTH_PATH:
            return Response(f'{{"version": "{VERSION}"}}\n', content_type="application/json")
        return Response("not found\n", 404)

    def _moto_app(self) -> Any:
        with self._moto_lock:
            if self._moto is None:
                from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

                self._moto = DomainDispatcherApplication(create_backend_app)
        return self._moto


def service_of(request: Request) -> str:
    """boto3's name of the service a request is for, from the credential scope of its signature."""
    signed = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request", request.headers.get("Authorization", ""))
    if signed:
        name = signed[1]
    else:
        scope = parse_qs(request.query_string.decode()).get("X-Amz-Credential", [""])[0].split("/")
        name = scope[3] if len(scope) == 5 else UNSIGNED
    if name == "sagemaker" and "X-Amz-Target" not in request.headers:
        return "sagemaker-runtime"
    return SERVICE_BY_SIGNING_NAME.get(name, name)
