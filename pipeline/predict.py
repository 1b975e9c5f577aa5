"""Ask the predict function what a photo shows."""

import base64
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from pipeline import execution, hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from pipeline.upload import IMAGES


def of_file(cloud: Cloud, path: Path) -> dict[str, Any]:
    """The predict function's answer for a photo on disk."""
    if not path.is_file():
        raise UserError(f"There is no photo at {path}.", "Give the path of a JPEG or PNG file.")
    return of_bytes(cloud, path.read_bytes())


def of_url(cloud: Cloud, url: str) -> dict[str, Any]:
    """The predict function's answer for a photo on the web; the function fetches it."""
    return _invoke(cloud, {"url": url})


def of_bytes(cloud: Cloud, photo: bytes) -> dict[str, Any]:
    """The predict function's answer for a photo's bytes."""
    return _invoke(cloud, {"image": base64.b64encode(photo).decode()})


def of_a_test_photo(cloud: Cloud, source: str, arn: str) -> dict[str, Any] | None:
    """{"file", "breed", "probability"} for one photo that the model was not trained on; None where there is none."""
    name, photo = _original_test_photo(source) or prepared_test_photo(cloud, arn) or ("", b"")
    if not photo:
        return None
    top = of_bytes(cloud, photo)["predictions"][0]
    return {"file": name, **top}


def _invoke(cloud: Cloud, event: dict[str, Any]) -> dict[str, Any]:
    function = cloud.settings.alias("predict")
    functions = cloud.client("lambda")
    try:
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(event).encode())
    except functions.exceptions.ResourceNotFoundException:
        raise UserError("There is no predict function yet.", f"Run the pipeline first: {hints.RUN}") from None
    body = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise UserError(f"The predict function failed: {body.get('errorMessage', body)}.", "See its log.")
    if "predictions" not in body:
        raise UserError(f"No prediction: {body['error']['message']}", "")
    return body


def _original_test_photo(source: str) -> tuple[str, bytes] | None:
    """The first good-looking test photo of a local data set, as it came."""
    path = Path(source)
    if path.is_dir():
        photos = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
        name = _first_test_photo(list(photos))
        return (name, photos[name].read_bytes()) if name else None
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = _first_test_photo([entry.filename for entry in archive.infolist() if entry.file_size > 2000])
            return (name, archive.read(name)) if name else None
    return None


def _first_test_photo(names: list[str]) -> str | None:
    return next((n for n in sorted(names) if "test" in n.split("/")[:-1] and Path(n).suffix.lower() in IMAGES), None)


def prepared_test_photo(cloud: Cloud, arn: str) -> tuple[str, bytes] | None:
    """The first test photo of an execution's prepared data."""
    prepare = next((step for step in execution.steps(cloud, arn) if step.name == "Prepare" and step.job), None)
    if not prepare:
        return None
    bucket, prefix = execution.output_location(cloud, prepare)
    s3 = cloud.client("s3")
    for shard in s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/shards/test/").get("Contents", []):
        body = s3.get_object(Bucket=bucket, Key=shard["Key"])["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            first = tar.next()
            content = tar.extractfile(first) if first else None
            if first and content:
                return first.name, content.read()
    return None
