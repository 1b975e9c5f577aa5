"""What an embedded account needs before the pipeline can run in it: the bucket and the two functions."""

import base64
import hashlib
import io
import zipfile
from pathlib import Path

from botocore.exceptions import ClientError

from pipeline.cloud import Cloud

LAMBDAS = Path(__file__).parent.parent / "lambda"


def set_up(cloud: Cloud) -> None:
    """Create what is missing and update what differs; nothing happens when all is there."""
    s3 = cloud.client("s3")
    try:
        s3.head_bucket(Bucket=cloud.settings.bucket)
    except ClientError:
        s3.create_bucket(Bucket=cloud.settings.bucket)
    _function(cloud, "deploy", timeout=600, memory=256, environment={})
    _function(cloud, "predict", timeout=30, memory=512, environment={"ENDPOINT_NAME": cloud.settings.endpoint_name})


def package(folder: Path) -> bytes:
    """A function's folder as a zip, byte for byte the same for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.py")):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            archive.writestr(member, path.read_bytes())
    return buffer.getvalue()


def _function(cloud: Cloud, name: str, *, timeout: int, memory: int, environment: dict[str, str]) -> None:
    functions = cloud.client("lambda")
    code = package(LAMBDAS / name)
    full_name = f"{cloud.settings.project}-{name}"
    try:
        known = functions.get_function_configuration(FunctionName=full_name)
    except functions.exceptions.ResourceNotFoundException:
        functions.create_function(
            FunctionName=full_name,
            Runtime="python3.12",
            Handler="handler.lambda_handler",
            Role=cloud.settings.role(name),
            Code={"ZipFile": code},
            Timeout=timeout,
            MemorySize=memory,
            Environment={"Variables": environment},
        )
        return
    if known["CodeSha256"] != base64.b64encode(hashlib.sha256(code).digest()).decode():
        functions.update_function_code(FunctionName=full_name, ZipFile=code)
