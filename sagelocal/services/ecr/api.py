"""ECR's BatchGetImage: an image is there when images.toml has a way to run it. All else of ECR is moto's."""

import json

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.runtime import images


@operation("ecr", "BatchGetImage")
def batch_get_image(context: Context, request: Json) -> Json:
    found: list[Json] = []
    failures: list[Json] = []
    for identifier in request["imageIds"]:
        tag = identifier.get("imageTag", "")
        if _runs(context, f"{request['repositoryName']}:{tag}"):
            manifest = json.dumps({"schemaVersion": 2, "config": {}, "layers": []})
            repository = {"registryId": request.get("registryId", context.account)}
            repository["repositoryName"] = request["repositoryName"]
            found.append({**repository, "imageId": {"imageTag": tag}, "imageManifest": manifest})
        else:
            reason = "Requested image not found"
            failures.append({"imageId": identifier, "failureCode": "ImageNotFound", "failureReason": reason})
    return {"images": found, "failures": failures}


def _runs(context: Context, image: str) -> bool:
    for use in images.USES:
        try:
            images.find(context, image, use)
        except ValidationException:
            continue
        return True
    return False
