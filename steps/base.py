"""What the steps share: a step whose request is written out, and the parts that several requests have in common.

The SDK is used as a compiler of request dicts (properties, references, dependencies, the envelope of a step). The
requests themselves stand here as AWS's API documents them, because ModelTrainer, HyperparameterTuner and
ScriptProcessor upload code, call AWS or refuse pipeline parameters while a definition is built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.properties import Properties, PropertyFile
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ConfigurableRetryStep, StepTypeEnum

from pipeline.settings import Settings

CACHE = CacheConfig(enable_caching=True, expire_after="P30D")

# A failed request is tried again soon; an instance type that is sold out, later and for longer.
RETRIES = [
    StepRetryPolicy(
        exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
        interval_seconds=5,
        backoff_rate=2.0,
        max_attempts=5,
    ),
    SageMakerJobStepRetryPolicy(
        exception_types=[SageMakerJobExceptionTypeEnum.INTERNAL_ERROR, SageMakerJobExceptionTypeEnum.CAPACITY_ERROR],
        interval_seconds=60,
        backoff_rate=2.0,
        max_attempts=4,
    ),
]


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What every step is built from: settings, the pipeline's parameters by name, and where the code bundle lies."""

    settings: Settings
    parameters: dict[str, Any]
    code_uri: str

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of a processing job at a path of its own below /opt/ml/processing/input.

    It is whole on every host, or `sharded`: each object is on one of them. In what order SageMaker deals them out is
    not documented, and a host may get none. Source: API reference, ProcessingS3Input and S3DataSource.
    """

    uri: Any
    path: str
    sharded: bool = False


_JOBS = (StepTypeEnum.PROCESSING, StepTypeEnum.TRAINING, StepTypeEnum.TUNING)

# The answers of Describe and List calls that a step's properties resolve against.
_ANSWERS = {
    StepTypeEnum.PROCESSING: ["DescribeProcessingJobResponse"],
    StepTypeEnum.TRAINING: ["DescribeTrainingJobResponse"],
    StepTypeEnum.TUNING: [
        "DescribeHyperParameterTuningJobResponse",
        "ListTrainingJobsForHyperParameterTuningJobResponse",
    ],
    StepTypeEnum.REGISTER_MODEL: ["DescribeModelPackageOutput"],
}


class RequestStep(ConfigurableRetryStep):
    """A step of the SDK whose `arguments` are given as the service's request. Jobs are retried, and cached.

    `envelope` holds members that stand beside Arguments (FunctionArn, OutputParameters).
    """

    def __init__(
        self,
        name: str,
        kind: StepTypeEnum,
        request: dict[str, Any],
        *,
        title: str,
        description: str,
        property_files: Sequence[PropertyFile] = (),
        envelope: dict[str, Any] | None = None,
    ):
        is_job = kind in _JOBS
        retries = RETRIES if is_job else None
        super().__init__(name, kind, display_name=title, description=description, retry_policies=retries)
        self._request = request
        self._properties = Properties(step_name=name, step=self, shape_names=_ANSWERS.get(kind, []))
        self.property_files = list(property_files)
        self.cache_config = CACHE if is_job else None
        self._envelope = envelope or {}

    @property
    def arguments(self) -> dict[str, Any]:
        return self._request

    @property
    def properties(self) -> Properties:
        return self._properties

    def to_request(self) -> dict[str, Any]:
        request = super().to_request()
        if self.cache_config:
            request.update(self.cache_config.config)
        if self.property_files:
            request["PropertyFiles"] = [file.expr for file in self.property_files]
        return {**request, **self._envelope}


def call_function(
    build: BuildContext, name: str, event: dict[str, Any], *, outputs: Sequence[str], title: str, description: str
) -> RequestStep:
    """A step that asks the deploy function, by its alias; `outputs` are members of its answer, all texts."""
    envelope = {
        "FunctionArn": build.settings.alias("deploy"),
        "OutputParameters": [{"OutputName": output, "OutputType": "String"} for output in outputs],
    }
    return RequestStep(name, StepTypeEnum.LAMBDA, event, title=title, description=description, envelope=envelope)


def processing(
    build: BuildContext,
    name: str,
    *,
    title: str,
    description: str,
    script: str,
    role: str,
    inputs: dict[str, Any],
    output: str,
    arguments: dict[str, Any],
    instance_count: Any = 1,
    max_seconds: int = 6 * 3600,
    property_files: Sequence[PropertyFile] = (),
    volume_gb: int = 100,
    shared_outputs: dict[str, Any] | None = None,
) -> RequestStep:
    """A processing job that runs `code/<script>`: inputs in, one output prefix of this execution out.

    `role`: job, or evaluate for what the gate believes; each may write its own outputs only (infra/template.yaml).
    `inputs`: name → S3 URI, an input that is whole on every host, at the path of that name; or name → Input.
    `shared_outputs`: further outputs (name → S3 URI), to prefixes that executions share.
    """
    words = [word for flag, value in arguments.items() for word in (f"--{flag}", as_text(value))]
    request = {
        "RoleArn": build.settings.role(role),
        "AppSpecification": {
            "ImageUri": build.settings.training_image,
            "ContainerEntrypoint": ["python3", f"/opt/ml/processing/input/code/{script}"],
            **({"ContainerArguments": words} if words else {}),
        },
        "ProcessingInputs": [
            _processing_input(input_name, given) for input_name, given in {**inputs, "code": build.code_uri}.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                _processing_output(output_name, uri)
                for output_name, uri in {output: of_this_execution(build, output), **(shared_outputs or {})}.items()
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": build["ProcessingInstanceType"],
                "InstanceCount": instance_count,
                "VolumeSizeInGB": volume_gb,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": max_seconds},
    }
    return RequestStep(
        name, StepTypeEnum.PROCESSING, request, title=title, description=description, property_files=property_files
    )


def output_uri(step: RequestStep, name: str) -> Any:
    """The S3 prefix that a processing step wrote, also when the step was a cache hit."""
    return step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri


def output_parameter(step: RequestStep, name: str) -> Properties:
    """What a Lambda step answered under `name`."""
    return Properties(step_name=step.name, step=step, path=f"OutputParameters['{name}']")


def folder_of(uri: Any, folder: str) -> Join:
    """The S3 prefix of a folder below another prefix."""
    return Join(on="/", values=[uri, f"{folder}/"])


def of_this_execution(build: BuildContext, name: str) -> Join:
    """An S3 prefix of this execution alone."""
    return Join(on="/", values=[f"{build.settings.root}/runs", ExecutionVariables.PIPELINE_EXECUTION_ID, name])


def channel(name: str, uri: Any, mode: str = "File") -> dict[str, Any]:
    """A channel of a training job, whole on every host; with `mode` FastFile it is streamed, not copied to the disk."""
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
        },
        "InputMode": mode,
    }


def stopping_condition(build: BuildContext, seconds: int) -> dict[str, Any]:
    """The time limit of a training job, and for spot instances the wait included: AWS refuses a wait without spot."""
    wait = {"MaxWaitTimeInSeconds": seconds} if build.settings.use_spot_instances else {}
    return {
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds, **wait},
        "EnableManagedSpotTraining": build.settings.use_spot_instances,
    }


def script_mode(build: BuildContext, script: str) -> dict[str, str]:
    """The two hyperparameters that make AWS's images fetch our bundle and run a script of it."""
    return {
        "sagemaker_program": script,
        "sagemaker_submit_directory": build.code_uri.removesuffix("src/") + "sourcedir.tar.gz",
    }


def as_text(value: Any) -> Any:
    """A value for a place that takes text only: a bare number there is refused by AWS after the upload."""
    return value if isinstance(value, str) else value.to_string()


def _processing_input(name: str, given: Any) -> dict[str, Any]:
    wanted = given if isinstance(given, Input) else Input(uri=given, path=name)
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": wanted.uri,
            "LocalPath": f"/opt/ml/processing/input/{wanted.path}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "ShardedByS3Key" if wanted.sharded else "FullyReplicated",
        },
    }


def _processing_output(name: str, uri: Any) -> dict[str, Any]:
    return {
        "OutputName": name,
        "S3Output": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/output/{name}", "S3UploadMode": "EndOfJob"},
    }
