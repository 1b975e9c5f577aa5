"""The step types of the definition language: what their Arguments are and what their properties are.

Source: the SageMaker SDK 3.27 (StepTypeEnum and each step class).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class StepType:
    """`create` is the operation whose request the Arguments are, without `generated`, the name the service makes.

    `answers` are the operations whose outputs the step's properties are; `properties` are those that no operation
    describes (name → botocore type name). `open` properties cannot be checked.
    """

    create: str = ""
    generated: str = ""
    answers: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    open: bool = False
    cacheable: bool = False
    job: bool = False


_CHECK_PROPERTIES = {
    name: "string"
    for name in (
        "CalculatedBaselineConstraints",
        "CalculatedBaselineStatistics",
        "BaselineUsedForDriftCheckConstraints",
        "BaselineUsedForDriftCheckStatistics",
    )
}
_FOR_EACH_PROPERTIES = {
    "Status": "string",
    **dict.fromkeys(("InputItemCount", "TotalStepCount", "SucceededStepCount"), "integer"),
    **dict.fromkeys(("FailedStepCount", "StoppedStepCount"), "integer"),
    "IterationOutputs": "any",
    "Selected": "any",
}

STEP_TYPES: dict[str, StepType] = {
    "Processing": StepType(
        create="CreateProcessingJob",
        generated="ProcessingJobName",
        answers=("DescribeProcessingJob",),
        cacheable=True,
        job=True,
    ),
    "Training": StepType(
        create="CreateTrainingJob",
        generated="TrainingJobName",
        answers=("DescribeTrainingJob",),
        cacheable=True,
        job=True,
    ),
    "Tuning": StepType(
        create="CreateHyperParameterTuningJob",
        generated="HyperParameterTuningJobName",
        answers=("DescribeHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob"),
        cacheable=True,
        job=True,
    ),
    "Transform": StepType(
        create="CreateTransformJob",
        generated="TransformJobName",
        answers=("DescribeTransformJob",),
        cacheable=True,
        job=True,
    ),
    "AutoML": StepType(
        create="CreateAutoMLJob",
        generated="AutoMLJobName",
        answers=("DescribeAutoMLJob",),
        properties={"BestCandidateProperties": "any"},
        cacheable=True,
        job=True,
    ),
    "Job": StepType(create="CreateJob", generated="JobName", answers=("DescribeJob",), cacheable=True, job=True),
    "QualityCheck": StepType(
        create="CreateProcessingJob",
        generated="ProcessingJobName",
        properties=_CHECK_PROPERTIES,
        cacheable=True,
        job=True,
    ),
    "ClarifyCheck": StepType(
        create="CreateProcessingJob",
        generated="ProcessingJobName",
        properties=_CHECK_PROPERTIES,
        cacheable=True,
        job=True,
    ),
    "Model": StepType(create="CreateModel", generated="ModelName", answers=("DescribeModel",)),
    "RegisterModel": StepType(
        create="CreateModelPackage", generated="ModelPackageName", answers=("DescribeModelPackage",)
    ),
    "EndpointConfig": StepType(
        create="CreateEndpointConfig",
        generated="EndpointConfigName",
        answers=("DescribeEndpointConfig",),
        cacheable=True,
    ),
    "Endpoint": StepType(create="CreateEndpoint", answers=("DescribeEndpoint",), cacheable=True),
    "InferenceComponent": StepType(
        create="CreateInferenceComponent",
        generated="InferenceComponentName",
        answers=("DescribeInferenceComponent",),
        cacheable=True,
    ),
    "Condition": StepType(properties={"Outcome": "string"}),
    "ForEach": StepType(properties=_FOR_EACH_PROPERTIES),
    "Fail": StepType(),
    "Lambda": StepType(cacheable=True),
    "Callback": StepType(cacheable=True),
    "EMR": StepType(open=True, cacheable=True),
    "EMRServerless": StepType(open=True, cacheable=True),
    "Lineage": StepType(open=True),
    "Cleanup": StepType(open=True),
}
