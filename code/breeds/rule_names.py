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
# Need a collection of their own (see each), or a parameter.
OTHER_RULES = ("SaturatedActivation", "WeightUpdateRatio", "TensorVariance")
RULE_NAMES = (*DEFAULT_RULES, *OTHER_RULES)
