"""The Debugger rules, by the names SageMaker gives them."""

from breeds.rules.base import Finding, NoUsableData, TensorRule, open_trial
from breeds.rules.overfit import Overfit
from breeds.rules.overtraining import Overtraining
from breeds.rules.poor_weight_initialization import PoorWeightInitialization
from breeds.rules.vanishing_gradient import VanishingGradient

RULES: dict[str, type[TensorRule]] = {
    rule.__name__: rule for rule in (Overfit, Overtraining, VanishingGradient, PoorWeightInitialization)
}

__all__ = ["RULES", "Finding", "NoUsableData", "TensorRule", "open_trial"]
