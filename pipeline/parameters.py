"""Every pipeline parameter, once.

The definition, the `start` flags, the table in docs/parameters.md and all checks are made from this.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline import rule_parameters
from pipeline.errors import ParameterError

Value = str | int | float


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One pipeline parameter. `minimum` and `maximum` are inclusive; `choices` become EnumValues in the definition;
    `or_word` is allowed beside what `prefix` asks for."""

    name: str
    type: type
    default: Value | None  # None: the settings give it (the URIs)
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    prefix: str = ""
    or_word: str = ""

    @property
    def bounds(self) -> str:
        """The allowed values in words, for messages and the docs table."""
        if self.choices:
            return " | ".join(self.choices)
        if self.minimum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.or_word:
            return f"{self.prefix}… | {self.or_word}"
        return f"{self.prefix}…" if self.prefix else "any"

    def parse(self, text: str) -> Value:
        """The typed value of `text`. Raises ParameterError when type or bounds refuse it."""
        try:
            value = self.type(text)
        except ValueError:
            raise self._refused(text, f"it is not {_ARTICLES[self.type]}") from None
        if self.choices and value not in self.choices:
            raise self._refused(text, "it is not one of the choices")
        if self.minimum is not None and not self.minimum <= float(value) <= float(self.maximum or 0):
            raise self._refused(text, "it is out of bounds")
        if self.prefix and not str(value).startswith(self.prefix) and value != (self.or_word or None):
            raise self._refused(text, f"it does not start with {self.prefix}")
        return value

    def _refused(self, text: str, why: str) -> ParameterError:
        return ParameterError(f"{self.name} cannot be {text!r}: {why}.", f"Allowed: {self.bounds}.")


_ARTICLES = {int: "a whole number", float: "a number", str: "a text"}

# The Debugger rules of code/breeds/rule_names.py, by a test: the first are applied always, the others when asked for.
DEFAULT_RULES = (
    *("Overfit", "Overtraining", "VanishingGradient", "PoorWeightInitialization", "ExplodingTensor"),
    *("LossNotDecreasing", "DeadRelu", "ClassImbalance", "UnchangedTensor", "AllZero", "NotLearning", "LabelLeak"),
)
# Of these Overfit and Overtraining only warn, as healthy trainings have findings of theirs (docs/debugger.md).
BLOCKING_RULES = tuple(rule for rule in DEFAULT_RULES if rule not in ("Overfit", "Overtraining"))
RULES = (*DEFAULT_RULES, "SaturatedActivation", "WeightUpdateRatio", "TensorVariance")

# With debugger=managed SageMaker evaluates these: of them it is documented what they need. The others run in the Debug
# step, on the same tensors.
MANAGED_RULES = ("VanishingGradient", "Overfit", "Overtraining", "PoorWeightInitialization")


def _text(name: str, default: str | None, help: str, *choices: str, prefix: str = "", or_word: str = "") -> Parameter:
    return Parameter(name=name, type=str, default=default, help=help, choices=choices, prefix=prefix, or_word=or_word)


def _integer(name: str, default: int, minimum: int, maximum: int, help: str) -> Parameter:
    return Parameter(name=name, type=int, default=default, help=help, minimum=minimum, maximum=maximum)


def _number(name: str, default: float, minimum: float, maximum: float, help: str) -> Parameter:
    return Parameter(name=name, type=float, default=default, help=help, minimum=minimum, maximum=maximum)


PARAMETERS: tuple[Parameter, ...] = (
    # Data
    _text("InputDataUri", None, "S3 prefix with one zip or tar of photos, or a folder tree", prefix="s3://"),
    _text("PretrainedWeightsUri", None, "S3 prefix with the backbone's state dict (or random.json)", prefix="s3://"),
    _number("MaxBrokenFraction", 0.05, 0, 1, "share of unreadable images above which Prepare stops"),
    _integer("MaxDuplicates", 0, 0, 1_000_000, "images that may stand in two splits before Prepare stops"),
    _integer("MaxImagePixels", 100_000_000, 1_000_000, 1_000_000_000, "larger images are set aside undecoded"),
    # Features
    _text(
        "Backbone",
        "resnet50",
        "torchvision network that turns a photo into features",
        "resnet50",
        "resnet18",
        "mobilenet_v2",
    ),
    _integer("ImageSize", 224, 32, 512, "pixels of the random crops; the plain view, which is served, has 8/7 of them"),
    _integer("AugmentedViews", 4, 1, 32, "views of each training photo: the plain one and random crops"),
    # Tuning and training
    _integer(
        "TrainableStages", 0, 0, 5, "last stages of the backbone that Train fine-tunes (0: the head only, 5: all)"
    ),
    _integer("Epochs", 8, 1, 500, "epochs of each tuning trial and of the final training"),
    _text("TuningStrategy", "Bayesian", "how the tuner chooses hyperparameters", "Bayesian", "Random", "Hyperband"),
    _text(
        "TuningEarlyStopping",
        "Off",
        "Auto ends a trial that is worse than the median of those before it; Hyperband ends trials without it",
        "Off",
        "Auto",
    ),
    _integer("MaxTuningJobs", 10, 1, 500, "tuning trials in all"),
    _integer("MaxParallelTuningJobs", 2, 1, 100, "tuning trials at a time"),
    _text("FasterServing", "on", "make and measure faster forms of the trained model, and serve the best", "on", "off"),
    _integer("Seed", 7, 0, 2_147_483_647, "seed of views, initial weights and shuffling"),
    # Gate and registry
    _number("AccuracyThreshold", 0.8, 0, 1, "test top-1 below which nothing is registered"),
    _text("BlockingRules", ",".join(BLOCKING_RULES), "Debugger rules that stop the model; the others only warn"),
    _text(
        "StopOnIssue", "none", "Debugger rules that end the training as soon as one finds something; none: all of it"
    ),
    _text(
        "RuleParameters",
        rule_parameters.NOTHING,
        "rules' thresholds as Rule.parameter=value,…; a rule named here is not left to SageMaker (debugger=managed)",
    ),
    _text("TensorBoard", "off", "write what training saved for the rules as TensorBoard event files too", "off", "on"),
    _text(
        "ModelApprovalStatus",
        "Approved",
        "approval that a registered model starts with",
        "Approved",
        "PendingManualApproval",
        "Rejected",
    ),
    # Machines
    _text("ProcessingInstanceType", "ml.m5.2xlarge", "instances of Prepare, Embed, Debug and Evaluate", prefix="ml."),
    _integer("ProcessingInstanceCount", 1, 1, 100, "instances of Prepare and Embed; each takes its share"),
    _text("TrainingInstanceType", "ml.m5.2xlarge", "instances of Tune and Train", prefix="ml."),
    _integer("TrainingInstanceCount", 1, 1, 32, "hosts of the final training, joined by torchrun"),
    # Endpoint
    _text("EndpointInstanceType", "ml.m5.xlarge", "instances of the endpoint", prefix="ml.", or_word="serverless"),
    _integer("EndpointMinInstances", 1, 1, 100, "instances that always serve"),
    _integer("EndpointMaxInstances", 3, 1, 100, "instances that autoscaling may reach"),
    _number("TargetInvocationsPerInstance", 600.0, 1, 1_000_000, "requests per minute and instance to scale towards"),
    _integer("ScaleInCooldown", 300, 0, 3600, "seconds between two removals of instances"),
    _integer("ScaleOutCooldown", 60, 0, 3600, "seconds between two additions of instances"),
    _integer("ServerlessMemoryMB", 4096, 1024, 6144, "memory of a serverless endpoint, in steps of 1024"),
    _integer("ServerlessMaxConcurrency", 10, 1, 200, "requests that a serverless endpoint answers at a time"),
    _integer(
        "CanaryPercent", 0, 0, 50, "share of the requests that an update gives a new model first (0: all at once)"
    ),
    _integer("CanaryWaitSeconds", 300, 0, 3600, "how long alarms watch the canary, and then the whole new fleet"),
    _integer("MaxLatencyMilliseconds", 2000, 1, 60_000, "mean answer time of the model that sets off the alarm"),
    _integer("DataCapturePercent", 0, 0, 100, "share of the requests that are kept in the bucket with their answers"),
)

# Without the Debugger (debugger=off) no step uses these.
OF_THE_DEBUGGER = ("BlockingRules", "StopOnIssue", "RuleParameters", "TensorBoard")

BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def check(given: Mapping[str, str]) -> dict[str, Value]:
    """The typed values of `given` (name → text). Raises ParameterError for an unknown name or a refused value."""
    values = {}
    for name, text in given.items():
        if name not in BY_NAME:
            close = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise ParameterError(f"The pipeline has no parameter {name}.", f"{hint}It has: {', '.join(BY_NAME)}.")
        values[name] = BY_NAME[name].parse(text)
    low, high = (values.get(n, BY_NAME[n].default) for n in ("EndpointMinInstances", "EndpointMaxInstances"))
    if low > high:  # type: ignore[operator]
        raise ParameterError(
            f"EndpointMinInstances {low} is more than EndpointMaxInstances {high}.", "Raise the maximum too."
        )
    _check_serverless(values)
    if values.get("TuningStrategy") == "Hyperband" and values.get("TuningEarlyStopping") == "Auto":
        raise ParameterError(
            "TuningEarlyStopping cannot be 'Auto' with TuningStrategy=Hyperband: SageMaker refuses the two together.",
            "Leave it Off: Hyperband ends trials itself.",
        )
    for name, nothing in (("BlockingRules", ""), ("StopOnIssue", "none")):
        for rule in str(values.get(name, nothing)).split(","):
            if rule not in ("", nothing, *RULES):
                raise ParameterError(f"{name} names {rule!r}, which is no rule.", f"Rules: {', '.join(RULES)}.")
    rule_parameters.check(str(values.get("RuleParameters", rule_parameters.NOTHING)))
    return values


def _check_serverless(values: Mapping[str, Value]) -> None:
    memory = int(values.get("ServerlessMemoryMB", 1024))
    if memory % 1024:
        raise ParameterError(f"ServerlessMemoryMB cannot be {memory}.", "SageMaker has it in steps of 1024.")
    if values.get("EndpointInstanceType") == "serverless" and values.get("DataCapturePercent"):
        raise ParameterError(
            "DataCapturePercent is set, but a serverless endpoint cannot capture data.",
            "Set it to 0, or choose an instance type.",
        )


def parse_assignments(words: Iterable[str]) -> dict[str, str]:
    """{"Epochs": "3"} from ["Epochs=3"]. Raises ParameterError for a word that is no Name=value."""
    given = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ParameterError(f"{word!r} is not a parameter.", "Write Name=value, for instance Epochs=3.")
        given[name] = text
    return given


def markdown_table() -> str:
    """The table of docs/parameters.md."""
    rows = ["| parameter | type | default | allowed | what it is |", "|---|---|---|---|---|"]
    for parameter in PARAMETERS:
        default = "from `upload`" if parameter.default is None else f"`{parameter.default}`"
        allowed = parameter.bounds.replace("|", "\\|")
        rows.append(f"| {parameter.name} | {parameter.type.__name__} | {default} | {allowed} | {parameter.help} |")
    return "\n".join(rows) + "\n"
