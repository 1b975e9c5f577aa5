"""One handler per step type: what a step of that type does, and what its properties are."""

from sagelocal.services.sagemaker.execution.steps.base import Handler
from sagelocal.services.sagemaker.execution.steps.condition import ConditionStep
from sagelocal.services.sagemaker.execution.steps.fail import FailStep
from sagelocal.services.sagemaker.execution.steps.lambda_function import LambdaStep
from sagelocal.services.sagemaker.execution.steps.model import ModelStep
from sagelocal.services.sagemaker.execution.steps.processing import ProcessingStep
from sagelocal.services.sagemaker.execution.steps.register_model import RegisterModelStep
from sagelocal.services.sagemaker.execution.steps.training import TrainingStep
from sagelocal.services.sagemaker.execution.steps.tuning import TuningStep

HANDLERS: dict[str, Handler] = {
    "Condition": ConditionStep(),
    "Fail": FailStep(),
    "Lambda": LambdaStep(),
    "Model": ModelStep(),
    "Processing": ProcessingStep(),
    "RegisterModel": RegisterModelStep(),
    "Training": TrainingStep(),
    "Tuning": TuningStep(),
}
