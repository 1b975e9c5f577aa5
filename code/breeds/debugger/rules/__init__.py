"""The Debugger rules, by the names SageMaker gives them, and two that it never had: NotLearning and LabelLeak."""

import os

from breeds.debugger import smdebug_shim

# smdebug reads both while it is imported: its log is chatter, and its pause waits for a training that has long ended.
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")
smdebug_shim.prepare()

from breeds.debugger.rules.activations import DeadRelu, SaturatedActivation  # noqa: E402
from breeds.debugger.rules.base import Finding, TensorRule  # noqa: E402
from breeds.debugger.rules.changes import UnchangedTensor, WeightUpdateRatio  # noqa: E402
from breeds.debugger.rules.losses import LossNotDecreasing, Overfit, Overtraining  # noqa: E402
from breeds.debugger.rules.poor_weight_initialization import PoorWeightInitialization  # noqa: E402
from breeds.debugger.rules.predictions import ClassImbalance, LabelLeak, NotLearning  # noqa: E402
from breeds.debugger.rules.saved import NoUsableData, open_trial  # noqa: E402
from breeds.debugger.rules.values import AllZero, ExplodingTensor, TensorVariance, VanishingGradient  # noqa: E402

# In the order of contract/rules.py, which is the order of every verdict.
RULES: dict[str, type[TensorRule]] = {
    rule.__name__: rule
    for rule in (
        *(Overfit, Overtraining, VanishingGradient, PoorWeightInitialization, ExplodingTensor, LossNotDecreasing),
        *(DeadRelu, ClassImbalance, UnchangedTensor, AllZero, NotLearning, LabelLeak),
        *(SaturatedActivation, WeightUpdateRatio, TensorVariance),
    )
}

__all__ = ["RULES", "Finding", "NoUsableData", "TensorRule", "open_trial"]
