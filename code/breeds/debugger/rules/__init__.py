"""The Debugger rules, by the names SageMaker gives them, and two that it never had: NotLearning and LabelLeak."""

import os

from breeds.debugger import smdebug_shim

# smdebug reads both while it is imported: its log is chatter, and its pause waits for a training that has long ended.
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")
os.environ.setdefault("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")
smdebug_shim.prepare()

from breeds.debugger.rules.all_zero import AllZero  # noqa: E402
from breeds.debugger.rules.base import Finding, NoUsableData, TensorRule  # noqa: E402
from breeds.debugger.rules.class_imbalance import ClassImbalance  # noqa: E402
from breeds.debugger.rules.dead_relu import DeadRelu  # noqa: E402
from breeds.debugger.rules.exploding_tensor import ExplodingTensor  # noqa: E402
from breeds.debugger.rules.label_leak import LabelLeak  # noqa: E402
from breeds.debugger.rules.loss_not_decreasing import LossNotDecreasing  # noqa: E402
from breeds.debugger.rules.not_learning import NotLearning  # noqa: E402
from breeds.debugger.rules.overfit import Overfit  # noqa: E402
from breeds.debugger.rules.overtraining import Overtraining  # noqa: E402
from breeds.debugger.rules.poor_weight_initialization import PoorWeightInitialization  # noqa: E402
from breeds.debugger.rules.saturated_activation import SaturatedActivation  # noqa: E402
from breeds.debugger.rules.saved import open_trial  # noqa: E402
from breeds.debugger.rules.tensor_variance import TensorVariance  # noqa: E402
from breeds.debugger.rules.unchanged_tensor import UnchangedTensor  # noqa: E402
from breeds.debugger.rules.vanishing_gradient import VanishingGradient  # noqa: E402
from breeds.debugger.rules.weight_update_ratio import WeightUpdateRatio  # noqa: E402

RULES: dict[str, type[TensorRule]] = {
    rule.__name__: rule
    for rule in (
        Overfit,
        Overtraining,
        VanishingGradient,
        PoorWeightInitialization,
        ExplodingTensor,
        LossNotDecreasing,
        DeadRelu,
        ClassImbalance,
        UnchangedTensor,
        AllZero,
        NotLearning,
        LabelLeak,
        SaturatedActivation,
        WeightUpdateRatio,
        TensorVariance,
    )
}

__all__ = ["RULES", "Finding", "NoUsableData", "TensorRule", "open_trial"]
