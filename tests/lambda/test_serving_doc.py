"""docs/serving.md is true: its examples run against the embedded server, its tables name what the code has."""

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import errors
import guard
import pictures
import pytest
from deletion import Deletion
from deployment import Deployment
from lambda_support import FUNCTIONS, picture_bytes
from settings import Settings

from pipeline.functions import package
from pipeline.parameters import PARAMETERS
from tests.waiting import HANG, ended

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
EXAMPLES = re.findall(r"```(python|bash|json)\n(.*?)```", PAGE, re.DOTALL)
ROLE = "arn:aws:iam::123456789012:role/pawline-predict"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3.11"

# The endpoint's own answering code, around a model that knows one breed.
SERVE = """
import http.server, json, os, sys
sys.path.insert(0, CODE)
import numpy as np
from breeds.data import images
from breeds.serving.service import Service

class Predictor:
    info = {"backbone": "resnet50", "trained_at": "2026-11-23", "metrics": {"validation:accuracy": 0.94}}
    classes = ["affenpinscher", "basset", "beagle"]

    def view(self, data, max_pixels):
        if not data.startswith(b"\\xff\\xd8"):
            raise images.Rejected("cannot identify image file")
        return np.zeros((8, 8, 3), dtype=np.uint8)

    def answers(self, views):
        return np.tile(np.array([0.1, 0.2, 0.7], dtype=np.float32), (len(views), 1)), np.full(len(views), -3.0)

service = Service(Predictor())

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = service.answer(body, self.headers["Content-Type"])
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""

# What the page's two calls of the deploy function send comes back.
ECHO = "def lambda_handler(event, context):\n    return {'status': 'InService', 'event': event}\n"


def examples_with(*words: str) -> list[str]:
    return [text for language, text in EXAMPLES if language != "json" and all(word in text for word in words)]


@pytest.fixture(scope="module")
def account(server, client, tmp_path_factory) -> dict[str, str]:
    """The environment of a shell in a folder with dog.jpg, on an account with what `make run` leaves."""
    _make_endpoint(client("sagemaker"), client("s3"))
    functions = client("lambda")
    for name, code in (("predict", package(FUNCTIONS / "predict")), ("deploy", _zipped("handler.py", ECHO))):
        functions.create_function(
            FunctionName=f"pawline-{name}",
            Runtime="python3.12",
            Role=ROLE,
            Handler="handler.lambda_handler",
            Code={"ZipFile": code},
            Timeout=30,
            MemorySize=512,
            Environment={"Variables": {"ENDPOINT_NAME": "pawline"}},
        )
        version = functions.publish_version(FunctionName=f"pawline-{name}")["Version"]
        functions.create_alias(FunctionName=f"pawline-{name}", Name="live", FunctionVersion=version)
    folder = tmp_path_factory.mktemp("shell")
    (folder / "dog.jpg").write_bytes(picture_bytes())
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        **server.environment(),
    }


def _make_endpoint(sagemaker, s3) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        script = SERVE.replace("CODE", repr(str(ROOT / "code")), 1).encode()
        member = tarfile.TarInfo("code/serve.py")
        member.size = len(script)
        tar.addfile(member, io.BytesIO(script))
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="model.tar.gz", Body=packed.getvalue())
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/model.tar.gz"}
    sagemaker.create_model_package_group(ModelPackageGroupName="pawline")
    for _ in range(2):
        sagemaker.create_model_package(
            ModelPackageGroupName="pawline",
            ModelApprovalStatus="Approved",
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["image/jpeg"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="pawline", EndpointConfigName="c")
    state = ended(lambda: sagemaker.describe_endpoint(EndpointName="pawline"), "EndpointStatus")
    assert state["EndpointStatus"] == "InService", state


def _zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def ran(account: dict[str, str], example: str, **more: str) -> str:
    """What an example of the page prints."""
    shell = ["bash", "-euo", "pipefail", "-c", example]
    words = [sys.executable, "-c", example] if example.startswith("import") else shell
    done = subprocess.run(words, cwd=account["HOME"], env=account | more, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
    return done.stdout


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def test_the_function_answers_boto3(account):
    [example] = examples_with("pawline-predict:live", "functions.invoke(")
    assert "'breed': 'beagle'" in ran(account, example)


def test_the_function_answers_curl_at_its_url(account):
    needs("curl")
    [make_url] = examples_with("create_function_url_config")
    url = ran(account, make_url).strip()
    [example] = examples_with("$FUNCTION_URL")
    for line in example.strip().splitlines():
        answer = json.loads(ran(account, line, FUNCTION_URL=url))
        assert answer["predictions"][0] == {"breed": "beagle", "probability": pytest.approx(0.7)}
        assert answer["unsure"] is False


def test_the_endpoint_answers_boto3(account):
    [example] = examples_with('ContentType="image/jpeg"')
    assert "'breed': 'beagle'" in ran(account, example)


def test_the_endpoint_answers_a_batch(account):
    [example] = examples_with('"images"')
    first, broken, last = ran(account, example).splitlines()
    assert (first, last) == ("beagle", "beagle")
    assert "not a readable image" in broken


def test_the_endpoint_answers_curl(account):
    needs("curl")
    [example] = examples_with("--aws-sigv4")
    assert json.loads(ran(account, example))["predictions"][0]["breed"] == "beagle"


def test_the_endpoint_answers_the_command_line(account):
    needs("aws")
    [example] = examples_with("aws sagemaker-runtime invoke-endpoint")
    ran(account, example)
    assert json.loads((Path(account["HOME"]) / "answer.json").read_text())["predictions"][0]["breed"] == "beagle"


def test_the_way_back_by_hand_sends_a_valid_deployment_of_the_package_before(account, client):
    [example] = examples_with("pawline-deploy", "list_model_packages")
    printed = ran(account, example)
    deployment = Deployment.from_event(ast.literal_eval(printed)["event"])
    assert deployment.model_package_arn.endswith("/1")


def test_deleting_sends_a_valid_deletion(account):
    [example] = examples_with('"action": "delete"')
    event = ast.literal_eval(ran(account, example))["event"]
    assert Deletion.from_event(event).endpoint_name == "pawline"


def test_every_example_was_tried():
    tried = ("functions.invoke(", "create_function_url", "$FUNCTION_URL", "runtime", "--aws-sigv4", '"delete"')
    assert [text for text in examples_with() if not any(word in text for word in tried)] == []


def test_the_error_table_has_every_error_with_its_status():
    listed = {code: int(status) for status, code in re.findall(r"^\| (\d+) \| (\w+) \|", PAGE, re.MULTILINE)}
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.PredictError)]
    assert listed == {c.__name__: c.status for c in classes if c is not errors.PredictError}


def test_the_figures_of_the_guard_are_the_codes():
    assert f"{pictures.MAX_BYTES:,} bytes, {pictures.MAX_PIXELS // 10**6} megapixels" in PAGE
    assert f"{pictures.MAX_JPEG_SCANS} JPEG scans" in PAGE
    assert f"at most {guard.MAX_REDIRECTS} redirects" in PAGE
    assert f"10 MB and {guard.SECONDS:g} seconds for all of it" in PAGE
    assert f"`CONFIDENCE_FLOOR` ({Settings.confidence_floor:g}\n" in PAGE


def test_the_answers_that_are_shown_are_json():
    shown = [json.loads(text) for language, text in EXAMPLES if language == "json"]
    assert [answer["statusCode"] for answer in shown] == [200, 415]


def test_the_parameters_and_fields_that_are_named_exist():
    known = {parameter.name for parameter in PARAMETERS}
    named = re.findall(r"`([A-Z][A-Za-z]+)=", PAGE) + re.findall(r"^\| ([A-Z][A-Za-z, ]+?) \| ", PAGE, re.MULTILINE)
    named = {name for group in named for name in group.split(", ")} - {"AuthType"}
    template = (ROOT / "infra" / "template.yaml").read_text()
    assert [name for name in named if name not in known and f"  {name}:" not in template] == []
    assert {"EndpointMinInstances", "ScaleInCooldown", "CanaryPercent"} <= named
