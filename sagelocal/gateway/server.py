"""The HTTP front: finds the service a request is for and hands it on.

Services with operations in `services/` answer here; S3 has its own REST handler; whatever nobody answers goes to moto.
"""

import io
import json
import re
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from werkzeug.wrappers import Request, Response

from sagelocal import VERSION, services
from sagelocal.core import registry, service_models
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.gateway import foreign
from sagelocal.gateway.protocols import cbor, query, wire
from sagelocal.services.awslambda.urls import front
from sagelocal.services.cloudwatch import clock
from sagelocal.services.iam import enforcement, permissions, sessions, used
from sagelocal.services.s3 import xml as s3_xml

HEALTH_PATH = "/_sagelocal/health"
STOP_PATH = "/_sagelocal/stop"
USED_PATH = "/_sagelocal/iam/used"
CLOCK_PATH = "/_sagelocal/clock"

SERVICE_BY_SIGNING_NAME = {"monitoring": "cloudwatch", "servicequotas": "service-quotas"}
OURS_ALONE = (
    "sagemaker",
    "sagemaker-runtime",
    "lambda",
    "application-autoscaling",
    "iam",
)  # moto knows none of it
UNSIGNED = "s3"  # a request without a signature is a presigned or public S3 request


class Application:
    """The WSGI application of one embedded account."""

    def __init__(self, context: Context, on_stop: Callable[[], None]):
        self.context = context
        self.on_stop = on_stop
        services.load_all()
        self.native = {service for service, _ in registry.OPERATIONS}
        self._moto: Any = None
        self._moto_lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        if request.path.startswith(front.PREFIX):
            return front.answer(self.context, request, access_key_of(request))(environ, start_response)
        if request.path.startswith("/_sagelocal/"):
            return self._own_page(request)(environ, start_response)
        service, access_key = service_of(request), access_key_of(request)
        try:
            context = replace(self.context, caller=sessions.caller_of(self.context, access_key))
        except AwsError as problem:
            return self._refuse(service, request, problem)(environ, start_response)
        if service == "s3":
            from sagelocal.services.s3 import api as s3

            return s3.handle(context, request)(environ, start_response)
        if service in self.native:
            response = self._answer(context, service, request)
            if response is not None:
                return response(environ, start_response)
        try:
            if enforcement.enforced(context):
                permissions.authorize(context, service, *foreign.asked(service, request))
        except AwsError as problem:
            return self._refuse(service, request, problem)(environ, start_response)
        environ["wsgi.input"] = io.BytesIO(request.get_data())  # the body may have been read to see what is asked
        return self._moto_app()(environ, start_response)

    def _refuse(self, service: str, request: Request, problem: AwsError) -> Response:
        return s3_xml.error(problem, request.path) if service == "s3" else foreign.refused(request, problem)

    def _answer(self, context: Context, service: str, request: Request) -> Response | None:
        """The native answer, or None where moto should have a go at an operation that is not ours."""
        protocol = protocol_of(service, request)
        codec: Any = {"query": query, "smithy-rpc-v2-cbor": cbor}.get(protocol, wire)
        try:
            if codec is not wire:
                request.get_data()  # kept, so that moto can read it again
                operation, parameters = codec.parse(service, request)
            elif protocol == "json":
                operation, parameters = wire.parse_json(service, request)
            else:
                operation, parameters = wire.parse_rest(service, request)
            if (service, operation) not in registry.OPERATIONS and service not in OURS_ALONE:
                return None
            return codec.answer(service, operation, registry.dispatch(context, service, operation, parameters))
        except AwsError as problem:
            return codec.error(problem)
        except Exception as problem:
            print(f"{service}:\n{traceback.format_exc()}", flush=True)
            return codec.error(AwsError("InternalFailure", f"{type(problem).__name__}: {problem}", 500))

    def _own_page(self, request: Request) -> Response:
        if request.path == STOP_PATH and request.method == "POST":
            self.on_stop()
            return Response("stopping\n")
        if request.path == HEALTH_PATH:
            return Response(f'{{"version": "{VERSION}"}}\n', content_type="application/json")
        if request.path == CLOCK_PATH:
            return self._clock_page(request)
        if request.path == USED_PATH and request.method == "DELETE":
            used.record(self.context).forget()
            return Response("forgotten\n")
        if request.path == USED_PATH:
            return Response(json.dumps(used.used_statements(self.context)), content_type="application/json")
        return Response("not found\n", 404)

    def _clock_page(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                clock.set_speed(request.values.get("speed", ""))
            except clock.BadSpeed as problem:
                return Response(f"{problem}\n", 400)
        return Response(json.dumps({"speed": clock.speed()}), content_type="application/json")

    def _moto_app(self) -> Any:
        with self._moto_lock:
            if self._moto is None:
                from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

                self._moto = DomainDispatcherApplication(create_backend_app)
                for hook in registry.MOTO_HOOKS:
                    hook(self.context)
        return self._moto


def access_key_of(request: Request) -> str:
    """The access key id that a request is signed with, "" for one without a signature. Presigned URLs of S3 may have
    the older signature, version 2, which boto3 still makes where no other is asked for."""
    header = request.headers.get("Authorization", "")
    signed = re.search(r"Credential=([^/]+)/", header) or re.match(r"AWS ([^:]+):", header)
    if signed:
        return signed[1]
    return request.args.get("X-Amz-Credential", "").partition("/")[0] or request.args.get("AWSAccessKeyId", "")


def protocol_of(service: str, request: Request) -> str:
    """The protocol a request is in; a service may speak several."""
    metadata = service_models.service_model(service).metadata
    spoken = metadata.get("protocols", [metadata["protocol"]])
    if request.content_type == cbor.CONTENT_TYPE and "smithy-rpc-v2-cbor" in spoken:
        return "smithy-rpc-v2-cbor"
    if "X-Amz-Target" in request.headers and "json" in spoken:
        return "json"
    if "query" in spoken and "smithy-rpc-v2-cbor" in spoken:
        return "query"
    return metadata["protocol"]


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
