"""One handler per step type: what a step of that type does, and what its properties are."""

from embedded.engine.steps.base import Handler
from embedded.engine.steps.condition import ConditionStep
from embedded.engine.steps.fail import FailStep
from embedded.engine.steps.lambda_function import LambdaStep
from embedded.engine.steps.model import ModelStep
from embedded.engine.steps.processing import ProcessingStep
from embedded.engine.steps.register_model import RegisterModelStep
from embedded.engine.steps.training import TrainingStep
from embedded.engine.steps.tuning import TuningStep

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
