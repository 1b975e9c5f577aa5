"""Debug: the Debugger rules on the tensors that training saved.

With debugger=managed SageMaker evaluates some of them: the step waits for its verdict on those and runs the others.
"""

from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.properties import PropertyFile

from contract.rules import MANAGED_RULES
from pipeline.settings import MANAGED
from steps.base import BuildContext, RequestStep, processing

REPORT = PropertyFile(name="debug", output_name="debug", path="debug.json")


def step(build: BuildContext, *, train: RequestStep) -> RequestStep:
    job = train.properties
    managed = build.settings.debugger == MANAGED
    tensors = Join(on="/", values=[job.DebugHookConfig.S3OutputPath, job.TrainingJobName, "debug-output"])
    return processing(
        build,
        "Debug",
        title="Check the training",
        description="Applies the Debugger rules to the saved tensors; writes debug.json, which the gate reads.",
        script="debug.py",
        role="evaluate",
        inputs={"tensors": tensors},
        output="debug",
        arguments={
            "blocking-rules": build["BlockingRules"],
            "rule-parameters": build["RuleParameters"],
            "training-job": job.TrainingJobName,
            **({"managed-rules": ",".join(MANAGED_RULES)} if managed else {}),
            "tensorboard": build["TensorBoard"],
        },
        max_seconds=3600,
        property_files=[REPORT],
        volume_gb=30,
    )
