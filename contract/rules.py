"""The Debugger rules: which there are, their parameters, and how a person writes these:
`Overfit.ratio_threshold=0.3,Overfit.patience=3`, or `none`."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contract import Refuse

Value = bool | int | float | str | None
ByRule = dict[str, dict[str, Value]]

# AWS's own default of each parameter, None where there is none. It has the parameter's type; where it is negative,
# values may be.
PARAMETERS: ByRule = {
    "Overfit": {"start_step": 0, "patience": 1, "ratio_threshold": 0.1},
    "Overtraining": {"patience_train": 5, "patience_validation": 10, "delta": 0.01},
    "VanishingGradient": {"threshold": 1e-7},
    "PoorWeightInitialization": {
        "activation_inputs_regex": ".*(relu|ReLU)\\d*_input",
        "steps": 10,
        "threshold": 10.0,
        "distribution_range": 0.001,
        "patience": 5,
    },
    "ExplodingTensor": {"collection_names": "", "tensor_regex": "", "only_nan": False},
    "LossNotDecreasing": {"num_steps": 10, "diff_percent": 0.1, "increase_threshold_percent": 5.0, "mode": "GLOBAL"},
    "DeadRelu": {
        "tensor_regex": ".*(relu|ReLU)\\d*_(input|output)",
        "threshold_inactivity": 1.0,
        "threshold_layer": 50.0,
    },
    "ClassImbalance": {"threshold_imbalance": 10.0, "threshold_misprediction": 0.7, "samples": 500},
    "UnchangedTensor": {
        "collection_names": "weights",
        "tensor_regex": "",
        "num_steps": 3,
        "rtol": 1e-5,
        "atol": 1e-8,
        "equal_nan": False,
    },
    "AllZero": {"collection_names": "gradients,weights,relu_input", "tensor_regex": "", "threshold": 100.0},
    "NotLearning": {"margin": 0.1, "significance": 0.01},
    "LabelLeak": {"max_seen": 0.01, "perfect": 0.995, "min_classes": 10, "min_images": 100},
    "SaturatedActivation": {
        "tensor_regex": ".*tanh\\d*_input|.*sigmoid\\d*_input",
        "threshold_tanh_min": -9.4999,
        "threshold_tanh_max": 9.4999,
        "threshold_sigmoid_min": -23.0,
        "threshold_sigmoid_max": 16.99999,
        "threshold_inactivity": 1.0,
        "threshold_layer": 50.0,
    },
    "WeightUpdateRatio": {"num_steps": None, "large_threshold": 10.0, "small_threshold": 1e-8, "epsilon": 1e-9},
    "TensorVariance": {"collection_names": "weights", "tensor_regex": "", "max_threshold": None, "min_threshold": None},
}
RULES = tuple(PARAMETERS)
# Applied only when asked for: they need a collection of their own (see each), or a parameter.
OTHER_RULES = ("SaturatedActivation", "WeightUpdateRatio", "TensorVariance")
DEFAULT_RULES = tuple(rule for rule in RULES if rule not in OTHER_RULES)
# They stop a model: no false alarm on any healthy training of benchmarks/debugger.py. At AWS's thresholds Overfit and
# Overtraining fire on good models too, of which training keeps the best epoch anyway, so they only warn.
BLOCKING_RULES = tuple(rule for rule in DEFAULT_RULES if rule not in ("Overfit", "Overtraining"))
# With debugger=managed SageMaker evaluates these: of them it is documented what they need. The others run in the Debug
# step, on the same tensors.
MANAGED_RULES = ("VanishingGradient", "Overfit", "Overtraining", "PoorWeightInitialization")

NOTHING = "none"
# A comma that does not begin another assignment belongs to a value: collection_names=weights,gradients.
_BETWEEN = re.compile(r",(?=\s*(?:\w+\.\w+\s*=|\w+\s*=|\s*$))")


def parse(text: str, refuse: Refuse) -> ByRule:
    """{"Overfit": {"ratio_threshold": 0.3}} from `Overfit.ratio_threshold=0.3,…`; nothing from `none`.

    Raises what `refuse` makes for a text that cannot be read, and as `checked` does.
    """
    by_rule: dict[str, dict[str, str]] = {}
    for rule, name, value in _assignments(text.strip(), refuse):
        by_rule.setdefault(rule, {})[name] = value
    return checked(by_rule, refuse)


def checked(by_rule: Mapping[str, Mapping[str, Any]], refuse: Refuse) -> ByRule:
    """The same in the parameters' types. Raises what `refuse` makes where a rule, a name or a value cannot be."""
    return {
        rule: {name: _value(rule, name, value, refuse) for name, value in values.items()}
        for rule, values in by_rule.items()
    }


def _assignments(text: str, refuse: Refuse) -> Iterator[tuple[str, str, str]]:
    items = [item.strip() for item in _BETWEEN.split(text) if item.strip()]
    if not items:
        raise refuse("The rule parameters are empty.", f"Write {NOTHING} for the rules' own defaults.")
    for item in items if text != NOTHING else ():
        path, equals, value = item.partition("=")
        rule, dot, name = path.partition(".")
        if not equals or not dot:
            raise refuse(
                f"Rule parameter {item!r} cannot be read.",
                "Write Rule.parameter=value with commas between, for instance Overfit.ratio_threshold=0.3.",
            )
        yield rule.strip(), name.strip(), value.strip()


def _value(rule: str, name: str, value: Any, refuse: Refuse) -> Value:
    if rule not in PARAMETERS:
        raise refuse(f"Rule {rule!r} is not known.", f"Rules: {', '.join(RULES)}.")
    if name not in PARAMETERS[rule]:
        raise refuse(f"Rule {rule} has no parameter {name!r}.", f"It has {', '.join(PARAMETERS[rule])}.")
    wanted, read = _kind(name, PARAMETERS[rule][name])
    try:
        return read(value)
    except (ValueError, TypeError, KeyError, re.error):
        raise refuse(f"{rule}.{name} cannot be {value!r}.", f"It must be {wanted}.") from None


def _kind(name: str, default: Value) -> tuple[str, Callable[[Any], Value]]:
    """What a value must be, and what reads it."""
    if isinstance(default, bool):
        return "True or False", lambda value: {"true": True, "false": False}[str(value).lower()]
    if name == "mode":
        phases = {phase: phase for phase in ("GLOBAL", "TRAIN", "EVAL")}
        return "GLOBAL, TRAIN or EVAL", lambda value: phases[str(value).upper()]
    if isinstance(default, str):
        return ("a regular expression", _pattern) if name.endswith("_regex") else ("a text", str)
    if isinstance(default, int):
        return "a whole number >= 0", _whole
    if default is not None and default < 0:
        return "a number", _finite
    return "a number >= 0", _not_negative


def _pattern(value: Any) -> str:
    return re.compile(str(value)).pattern


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _not_negative(value: Any) -> float:
    if _finite(value) < 0:
        raise ValueError
    return float(value)


def _whole(value: Any) -> int:
    if not _not_negative(value).is_integer():
        raise ValueError
    return int(float(value))
