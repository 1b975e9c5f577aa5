"""The Debugger rules of a training job: each is a processing job on the tensors that the training saved.

Contract of an evaluator (images.toml, `evaluate`): the tensors are below /opt/ml/processing/input/tensors, the rule's
parameters are environment variables (`rule_to_invoke` names it), findings go below the rule's LocalPath. It ends with
0; where the rule's condition is met it has written /opt/ml/output/message, beginning with RuleEvaluationConditionMet.
On AWS a rule follows the training; here it begins when the training has ended.
"""

import os
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.core.patience import patiently
from sagelocal.core.store import Kind
from sagelocal.runtime import cluster, data, images
from sagelocal.services.sagemaker.documents import PROCESSING_JOB, TRAINING_JOB, ProcessingJob, TrainingJob
from sagelocal.services.sagemaker.jobs import processing
from sagelocal.services.sagemaker.jobs.job import CUT_OFF

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DebugRuleConfigurationOutputTypeDef as Rule

# The training jobs whose rules wait for their evaluation, or are in it: a server that starts again ends these.
PENDING = Kind[Json]("debugger-rules")
MET = "RuleEvaluationConditionMet"
NOT_ENDED = "InternalServerError: the rule's processing job has not ended."
TENSORS = "/opt/ml/processing/input/tensors"
FINDINGS = "/opt/ml/processing/output/rule/"  # source: API reference, DebugRuleConfiguration, LocalPath


def check(context: Context, request: Json) -> None:
    """Refuse rules that could not run. Raises ValidationException that names the rule."""
    configured = request.get("DebugRuleConfigurations", [])
    names = [rule["RuleConfigurationName"] for rule in configured]
    for name in names:
        if names.count(name) > 1:
            raise ValidationException(f"DebugRuleConfigurations names {name} twice: rename one.")
    if configured and "DebugHookConfig" not in request:
        raise ValidationException("DebugRuleConfigurations needs a DebugHookConfig: without it no tensor is saved.")
    for rule in configured:
        images.find(context, rule["RuleEvaluatorImage"], "rules")


def statuses(context: Context, job: TrainingJob) -> list[Json]:
    """DebugRuleEvaluationStatuses of a job that is about to begin, the rules' own jobs named in them."""
    return [
        {
            "RuleConfigurationName": rule["RuleConfigurationName"],
            "RuleEvaluationJobArn": context.arn("sagemaker", f"processing-job/{_job_name(job, rule)}"),
            "RuleEvaluationStatus": "InProgress",
            "LastModifiedTime": time.time(),
        }
        for rule in job.get("DebugRuleConfigurations", [])
    ]


def create(context: Context, training: TrainingJob) -> None:
    """Put the rules' processing jobs into the store; they wait for the training's tensors."""
    if training.get("DebugRuleConfigurations"):
        context.store.put(PENDING, training["TrainingJobName"], {})
    for rule, name in _rules(training):
        context.store.insert(PROCESSING_JOB, name, _processing_job(context, training, rule, name))


def register(context: Context, training: TrainingJob) -> None:
    """Let the rules' jobs count as running from now on, so that they can be stopped before their training has ended."""
    for _, name in _rules(training):
        cluster.register(context, PROCESSING_JOB, name)


def start(context: Context, training: TrainingJob) -> None:
    """Evaluate the rules of a training job that has ended, in the background, as many at a time as there are cores."""
    if training.get("DebugRuleConfigurations"):
        context.spawn(f"rules of {training['TrainingJobName']}", _evaluate_all, context, training)


def cut_off(context: Context) -> None:
    """Mark what a server that is gone was evaluating."""
    for name, _ in context.store.items(PENDING):
        training = context.store.get(TRAINING_JOB, name)
        for status in training.get("DebugRuleEvaluationStatuses", []) if training else []:
            if status["RuleEvaluationStatus"] in ("InProgress", "Stopping"):
                _tell(context, name, status["RuleConfigurationName"], "Error", CUT_OFF)
        context.store.delete(PENDING, name)


def _rules(training: TrainingJob) -> "list[tuple[Rule, str]]":
    """(configuration, name of its processing job) of each rule."""
    names = [s["RuleEvaluationJobArn"].rpartition("/")[2] for s in training.get("DebugRuleEvaluationStatuses", [])]
    return list(zip(training.get("DebugRuleConfigurations", []), names, strict=True))


def _job_name(training: TrainingJob, rule: "Rule") -> str:
    """<training job>-<rule>-<random>, of which 63 characters are left."""
    words = (training["TrainingJobName"][:26], rule["RuleConfigurationName"][:26])
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in (*words, uuid.uuid4().hex[:8]))


def _processing_job(context: Context, training: TrainingJob, rule: "Rule", name: str) -> ProcessingJob:
    now, job = time.time(), training["TrainingJobName"]
    hook, output = training["DebugHookConfig"], training["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    findings = rule.get("S3OutputPath") or f"{output}/{job}/rule-output"
    tensors_from = {"S3Uri": f"{hook['S3OutputPath'].rstrip('/')}/{job}/debug-output/", "LocalPath": TENSORS}
    findings_to = {
        "S3Uri": f"{findings.rstrip('/')}/{rule['RuleConfigurationName']}",
        "LocalPath": rule.get("LocalPath") or FINDINGS,
        "S3UploadMode": "EndOfJob",
    }
    instances = {
        "InstanceType": rule.get("InstanceType", "ml.t3.medium"),
        "InstanceCount": 1,
        "VolumeSizeInGB": rule.get("VolumeSizeInGB", 30),
    }
    document = {
        "ProcessingJobName": name,
        "ProcessingJobArn": context.arn("sagemaker", f"processing-job/{name}"),
        "ProcessingJobStatus": "InProgress",
        "RoleArn": training["RoleArn"],
        "AppSpecification": {"ImageUri": rule["RuleEvaluatorImage"]},
        "Environment": dict(rule.get("RuleParameters", {})),
        "ProcessingInputs": [
            {"InputName": "tensors", "S3Input": tensors_from | {"S3DataType": "S3Prefix", "S3InputMode": "File"}}
        ],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "findings", "S3Output": findings_to}]},
        "ProcessingResources": {"ClusterConfig": instances},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "TrainingJobArn": training["TrainingJobArn"],
        "CreationTime": now,
        "LastModifiedTime": now,
        "_Tags": [],
    }
    return cast(ProcessingJob, document)


def _evaluate_all(context: Context, training: TrainingJob) -> None:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda entry: _evaluate(context, training["TrainingJobName"], *entry), _rules(training)))
    context.store.delete(PENDING, training["TrainingJobName"])


def _evaluate(context: Context, job: str, rule: "Rule", name: str) -> None:
    control = cluster.running(context).get((PROCESSING_JOB, name))
    if control is None or context.stopping.is_set():
        _tell(context, job, rule["RuleConfigurationName"], "Error", CUT_OFF)
        return
    try:
        processing.run(context, name, control)
    finally:
        _tell(context, job, rule["RuleConfigurationName"], *_outcome(context.store.get(PROCESSING_JOB, name)))


def _outcome(job: ProcessingJob | None) -> tuple[str, str]:
    """(RuleEvaluationStatus, StatusDetails) by how the rule's own job ended."""
    if job is None:
        return "Error", NOT_ENDED
    message, state = job.get("ExitMessage", ""), job["ProcessingJobStatus"]
    if state == "Completed":
        return ("IssuesFound", message) if message.startswith(MET) else ("NoIssuesFound", message)
    if state == "Stopped":
        return "Stopped", job.get("FailureReason", "The rule's processing job was stopped.")
    return "Error", job.get("FailureReason", NOT_ENDED)


def _tell(context: Context, job: str, rule: str, status: str, details: str) -> None:
    def edit(training: TrainingJob) -> None:
        now = time.time()
        for entry in training["DebugRuleEvaluationStatuses"]:
            if entry["RuleConfigurationName"] == rule:
                entry.update({"RuleEvaluationStatus": status, "LastModifiedTime": now})
                if details:
                    entry["StatusDetails"] = details[: data.MESSAGE_LIMIT]
        training["LastModifiedTime"] = now

    patiently(context, f"rule {rule} of {job}", lambda: context.store.change(TRAINING_JOB, job, edit))
