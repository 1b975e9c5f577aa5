"""What the pipeline parameter RuleParameters may hold, checked before anything starts.

The names are those of code/breeds/rules, by a test; code/breeds/rule_parameters.py checks once more where rules run.
"""

import math
import re
from collections.abc import Iterator

from pipeline.errors import ParameterError

NOTHING = "none"
MAX_LENGTH = 256  # characters of a word of ContainerArguments (API reference, AppSpecification)
# A comma that does not begin another assignment belongs to a value: collection_names=weights,gradients.
BETWEEN = re.compile(r",(?=\s*(?:\w+\.\w+\s*=|\w+\s*=|\s*$))")

WHOLE, NUMBER, SIGNED = "a whole number >= 0", "a number >= 0", "a number"
FLAG, TEXT, REGEX, PHASE = "True or False", "a text", "a regular expression", "GLOBAL, TRAIN or EVAL"

RULE_PARAMETERS: dict[str, dict[str, str]] = {
    "Overfit": {"start_step": WHOLE, "patience": WHOLE, "ratio_threshold": NUMBER},
    "Overtraining": {"patience_train": WHOLE, "patience_validation": WHOLE, "delta": NUMBER},
    "VanishingGradient": {"threshold": NUMBER},
    "PoorWeightInitialization": {
        "activation_inputs_regex": REGEX,
        "steps": WHOLE,
        "threshold": NUMBER,
        "distribution_range": NUMBER,
        "patience": WHOLE,
    },
    "ExplodingTensor": {"collection_names": TEXT, "tensor_regex": REGEX, "only_nan": FLAG},
    "LossNotDecreasing": {
        "num_steps": WHOLE,
        "diff_percent": NUMBER,
        "increase_threshold_percent": NUMBER,
        "mode": PHASE,
    },
    "DeadRelu": {"tensor_regex": REGEX, "threshold_inactivity": NUMBER, "threshold_layer": NUMBER},
    "ClassImbalance": {"threshold_imbalance": NUMBER, "threshold_misprediction": NUMBER, "samples": WHOLE},
    "UnchangedTensor": {
        "collection_names": TEXT,
        "tensor_regex": REGEX,
        "num_steps": WHOLE,
        "rtol": NUMBER,
        "atol": NUMBER,
        "equal_nan": FLAG,
    },
    "AllZero": {"collection_names": TEXT, "tensor_regex": REGEX, "threshold": NUMBER},
    "NotLearning": {"margin": NUMBER, "significance": NUMBER},
    "LabelLeak": {"max_seen": NUMBER, "perfect": NUMBER, "min_classes": WHOLE, "min_images": WHOLE},
    "SaturatedActivation": {
        "tensor_regex": REGEX,
        "threshold_tanh_min": SIGNED,
        "threshold_tanh_max": NUMBER,
        "threshold_sigmoid_min": SIGNED,
        "threshold_sigmoid_max": NUMBER,
        "threshold_inactivity": NUMBER,
        "threshold_layer": NUMBER,
    },
    "WeightUpdateRatio": {
        "num_steps": NUMBER,
        "large_threshold": NUMBER,
        "small_threshold": NUMBER,
        "epsilon": NUMBER,
    },
    "TensorVariance": {
        "collection_names": TEXT,
        "tensor_regex": REGEX,
        "max_threshold": NUMBER,
        "min_threshold": NUMBER,
    },
}


def check(text: str) -> None:
    """`Rule.parameter=value,…` or `none`. Raises ParameterError naming rule, parameter, and what is known of them."""
    if len(text) > MAX_LENGTH:
        raise ParameterError(f"RuleParameters has {len(text)} characters.", f"AWS takes {MAX_LENGTH}: name fewer.")
    for rule, name, value in _assignments(text):
        if rule not in RULE_PARAMETERS:
            raise ParameterError(
                f"RuleParameters names {rule!r}, which is no rule.", f"Rules: {', '.join(RULE_PARAMETERS)}."
            )
        known = RULE_PARAMETERS[rule]
        if name not in known:
            raise ParameterError(
                f"RuleParameters: rule {rule} has no parameter {name!r}.", f"It has {', '.join(known)}."
            )
        if not _fits(value, known[name]):
            raise ParameterError(f"RuleParameters: {rule}.{name} cannot be {value!r}.", f"It must be {known[name]}.")


def _assignments(text: str) -> Iterator[tuple[str, str, str]]:
    if text.strip() == NOTHING:
        return
    items = [item.strip() for item in BETWEEN.split(text) if item.strip()]
    if not items:
        raise ParameterError("RuleParameters cannot be empty.", f"Write {NOTHING} for the rules' own defaults.")
    for item in items:
        path, equals, value = item.partition("=")
        rule, dot, name = path.partition(".")
        if not equals or not dot:
            raise ParameterError(
                f"RuleParameters: {item!r} cannot be read.",
                "Write Rule.parameter=value with commas between, for instance Overfit.ratio_threshold=0.3.",
            )
        yield rule.strip(), name.strip(), value.strip()


def _fits(value: str, kind: str) -> bool:
    if kind == FLAG:
        return value.lower() in ("true", "false")
    if kind == PHASE:
        return value.upper() in ("GLOBAL", "TRAIN", "EVAL")
    if kind == REGEX:
        return _is_pattern(value)
    if kind == TEXT:
        return True
    try:
        number = float(value)
    except ValueError:
        return False
    return math.isfinite(number) and (kind == SIGNED or number >= 0) and (kind != WHOLE or number.is_integer())


def _is_pattern(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True
