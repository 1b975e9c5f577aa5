"""Processing: a processing job; its properties are DescribeProcessingJob."""

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.sagemaker.documents import PROCESSING_JOB
from sagelocal.services.sagemaker.execution.steps.base import JobHandler


class ProcessingStep(JobHandler):
    job = "ProcessingJob"
    kind = PROCESSING_JOB
    metadata_name = "ProcessingJob"
    cache_keys = ("AppSpecification", "Environment", "ProcessingInputs")

    def outputs(self, context: Context, properties: Json) -> list[str]:
        outputs = properties.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return [output["S3Output"]["S3Uri"] for output in outputs if output.get("S3Output", {}).get("S3Uri")]
