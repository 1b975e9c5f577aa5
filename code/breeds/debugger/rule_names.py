"""The rules' names, for those who must know them where smdebug, which the rules themselves need, is not installed."""

# Applied unless others are asked for: what steps/train.py saves is enough for them.
DEFAULT_RULES = (
    "Overfit",
    "Overtraining",
    "VanishingGradient",
    "PoorWeightInitialization",
    "ExplodingTensor",
    "LossNotDecreasing",
    "DeadRelu",
    "ClassImbalance",
    "UnchangedTensor",
    "AllZero",
    "NotLearning",
    "LabelLeak",
)
# Of these, those that stop a model unless others are asked for: without a false alarm on any healthy training of
# benchmarks/debugger.py. At AWS's thresholds Overfit and Overtraining fire on good models too, of which training keeps
# the best epoch anyway.
WARNING_RULES = ("Overfit", "Overtraining")
BLOCKING_RULES = tuple(name for name in DEFAULT_RULES if name not in WARNING_RULES)
# Need a collection of their own (see each), or a parameter.
OTHER_RULES = ("SaturatedActivation", "WeightUpdateRatio", "TensorVariance")
RULE_NAMES = (*DEFAULT_RULES, *OTHER_RULES)
