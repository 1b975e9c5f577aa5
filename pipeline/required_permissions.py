"""Which permissions the commands and the roles need, and which of them IAM says are denied."""

from dataclasses import dataclass

from pipeline.cloud import Cloud
from pipeline.settings import MANAGED, Settings


@dataclass(frozen=True)
class Permission:
    """Actions that must be allowed on a resource, in a request with `context` (condition key -> value)."""

    actions: tuple[str, ...]
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def denied(cloud: Cloud, principal: str, required: list[Permission]) -> list[str]:
    """Which needs the principal does not have, in words, by SimulatePrincipalPolicy."""
    found = []
    for permission in required:
        entries = [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in permission.context
        ]
        answer = cloud.client("iam").simulate_principal_policy(
            PolicySourceArn=principal,
            ActionNames=list(permission.actions),
            ResourceArns=[permission.resource],
            **({"ContextEntries": entries} if entries else {}),
        )
        found += [
            f"{result['EvalActionName']} on {permission.resource}"
            for result in answer["EvaluationResults"]
            if result["EvalDecision"] != "allowed"
        ]
    return found


def of_the_user(settings: Settings) -> list[Permission]:
    """What the commands do in their user's name."""
    pipeline = settings.pipeline_arn
    to_sagemaker = (("iam:PassedToService", "sagemaker.amazonaws.com"),)
    execution = ("DescribePipelineExecution", "ListPipelineExecutionSteps", "StopPipelineExecution")
    return [
        Permission(
            _of("sagemaker", "CreatePipeline", "UpdatePipeline", "DescribePipeline", "StartPipelineExecution"), pipeline
        ),
        Permission(_of("sagemaker", *execution, "RetryPipelineExecution"), f"{pipeline}/execution/*"),
        Permission(("iam:PassRole",), settings.role("pipeline"), to_sagemaker),
        Permission(("s3:ListBucket",), f"arn:aws:s3:::{settings.bucket}"),
        Permission(("s3:GetObject",), f"arn:aws:s3:::{settings.bucket}/{settings.project}/*"),
        *(
            Permission(("s3:PutObject",), f"arn:aws:s3:::{settings.bucket}/{settings.project}/{inputs}/*")
            for inputs in ("code", "raw", "weights", "cache")
        ),
        Permission(("lambda:InvokeFunction",), settings.alias("predict")),
    ]


def of_the_roles(settings: Settings) -> dict[str, list[Permission]]:
    """What each of the project's roles does, by its name."""
    sagemaker = f"arn:aws:sagemaker:{settings.region}:{settings.account}"
    objects = f"arn:aws:s3:::{settings.bucket}/{settings.project}"
    queue = f"arn:aws:sqs:{settings.region}:{settings.account}:{settings.project}-dead-letters"
    endpoint = f"{sagemaker}:endpoint/{settings.endpoint_name}"
    alarms = f"arn:aws:cloudwatch:{settings.region}:{settings.account}:alarm:{settings.endpoint_name}"
    passed = (("iam:PassedToService", "sagemaker.amazonaws.com"),)
    return {
        "pipeline": [
            Permission(("sagemaker:CreateProcessingJob",), f"{sagemaker}:processing-job/pipelines-doctor"),
            Permission(("sagemaker:CreateTrainingJob",), f"{sagemaker}:training-job/pipelines-doctor"),
            *(Permission(("iam:PassRole",), settings.role(name), passed) for name in ("job", "train", "evaluate")),
            Permission(("lambda:InvokeFunction",), settings.function("deploy")),
        ],
        "job": [Permission(("s3:GetObject", "s3:PutObject"), f"{objects}/runs/doctor/features/doctor")],
        "train": [Permission(("s3:GetObject", "s3:PutObject"), f"{objects}/models/pipelines-doctor/doctor")],
        "evaluate": [
            Permission(("s3:GetObject", "s3:PutObject"), f"{objects}/runs/doctor/evaluation/doctor"),
            *_of_managed_rules(settings),
        ],
        "model": [Permission(("s3:GetObject",), f"{objects}/releases/doctor")],
        "deploy": [
            Permission(
                _of("sagemaker", "CreateEndpoint", "UpdateEndpoint", "DescribeEndpoint", "InvokeEndpoint"), endpoint
            ),
            Permission(_of("sagemaker", "AddTags", "ListTags"), endpoint),
            Permission(
                _of("sagemaker", "ListModelPackages", "DescribeModelPackage"),
                f"{sagemaker}:model-package/{settings.model_package_group}/1",
            ),
            Permission(_of("cloudwatch", "PutMetricAlarm", "DescribeAlarms"), f"{alarms}-latency"),
            Permission(("iam:PassRole",), settings.role("model"), passed),
            Permission(("s3:GetObject",), f"{objects}/models/doctor"),
            Permission(("s3:PutObject",), f"{objects}/releases/doctor"),
        ],
        "predict": [Permission(("sagemaker:InvokeEndpoint",), endpoint)],
        "scheduler": [
            Permission(("sagemaker:StartPipelineExecution",), settings.pipeline_arn),
            Permission(("sqs:SendMessage",), queue),
        ],
    }


def _of_managed_rules(settings: Settings) -> list[Permission]:
    """The Debug step waits for SageMaker's verdict."""
    job = f"arn:aws:sagemaker:{settings.region}:{settings.account}:training-job/pipelines-doctor"
    return [Permission(("sagemaker:DescribeTrainingJob",), job)] if settings.debugger == MANAGED else []


def _of(service: str, *operations: str) -> tuple[str, ...]:
    return tuple(f"{service}:{operation}" for operation in operations)
