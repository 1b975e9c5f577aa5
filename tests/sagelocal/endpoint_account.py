"""What tests of endpoints share: an account, a model that says who it is, and load."""

import json
import threading
import uuid

import boto3
from botocore.config import Config

from benchmarks.archives import tar_gz
from tests.waiting import ended, until

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3.11"

ROLE = "arn:aws:iam::123456789012:role/model"

SERVE = """
import hashlib, http.server, json, os, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"die":
            os._exit(3)
        if body == b"bad":
            return self.answer(415, b"no such picture")
        if body == b"busy":
            return self.answer(503, b"the queue is full", Retry_After="2")
        if body == b"slow":
            time.sleep(0.5)
        said = {"version": open("/opt/ml/model/version").read(), "seen": dict(self.headers),
                "port": self.server.server_port,
                "sha256": hashlib.sha256(body).hexdigest(), "environment": dict(os.environ)}
        self.answer(200, json.dumps(said).encode(), Content_Type="application/x-said",
                    X_Amzn_SageMaker_Custom_Attributes="from-the-model")

    def log_message(self, *arguments):
        pass

print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


def archive(version: str, script: str = SERVE) -> bytes:
    return tar_gz({"version": version, "code/serve.py": script})


class Account:
    """Short words for what the tests do."""

    def __init__(self, url: str):
        def made(service: str):
            return boto3.client(
                service, endpoint_url=url, region_name="us-east-1", config=Config(retries={"total_max_attempts": 1})
            )

        self.sagemaker, self.runtime, self.s3 = made("sagemaker"), made("sagemaker-runtime"), made("s3")
        self.s3.create_bucket(Bucket="models")

    def model(self, version: str, script: str = SERVE, role: str = ROLE) -> str:
        name = f"m-{uuid.uuid4().hex[:12]}"
        self.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive(version, script))
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=role,
            PrimaryContainer={
                **{"Image": IMAGE, "ModelDataUrl": f"s3://models/{name}/model.tar.gz"},
                "Environment": {"COLOUR": "blue"},
            },
        )
        return name

    def config(
        self,
        version: str,
        count: int = 1,
        script: str = SERVE,
        role: str = ROLE,
        capture: dict | None = None,
        **variant,
    ) -> str:
        """A configuration of one variant; `variant` in place of its instances, `capture`: its DataCaptureConfig."""
        hosts = {"InitialInstanceCount": count, "InstanceType": "ml.m5.large"}
        model = {"VariantName": "AllTraffic", "ModelName": self.model(version, script, role)}
        return self.config_of({**model, **(variant or hosts)}, capture=capture)

    def config_of(self, *variants: dict, capture: dict | None = None) -> str:
        name = f"c-{uuid.uuid4().hex[:12]}"
        more = {"DataCaptureConfig": capture} if capture else {}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=list(variants), **more)
        return name

    def endpoint(self, config: str) -> str:
        name = f"e-{uuid.uuid4().hex[:12]}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return name

    def settled(self, endpoint: str) -> dict:
        return ended(lambda: self.sagemaker.describe_endpoint(EndpointName=endpoint), "EndpointStatus")

    def said(self, endpoint: str, body: bytes = b"x", **more) -> dict:
        return json.loads(self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **more)["Body"].read())


class Load:
    """Requests without a pause from several threads; every answer and every failure is kept."""

    def __init__(self, account: Account, endpoint: str, threads: int = 4, body: bytes = b"x"):
        self.versions: list[str] = []
        self.failures: list[Exception] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(account, endpoint, body)) for _ in range(threads)]

    def _ask(self, account: Account, endpoint: str, body: bytes) -> None:
        while not self._stop.is_set():
            try:
                self.versions.append(account.said(endpoint, body)["version"])
            except Exception as problem:
                self.failures.append(problem)

    def more(self, count: int) -> None:
        """Wait for the answers of `count` requests that are sent from now on."""
        enough = len(self.versions) + len(self._threads) + count
        until(lambda: len(self.versions) >= enough)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
