"""Every pipeline parameter, once.

The definition, the `start` flags, the table in docs/parameters.md and all checks are made from this.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contract import rules
from contract.deployment import SERVERLESS, DeployEvent
from contract.hyperparameters import Hyperparameters
from contract.settings import named, plain_type
from pipeline.errors import ParameterError

Value = str | int | float
MAX_LENGTH = 256  # characters of a word of ContainerArguments (API reference, AppSpecification)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One pipeline parameter. `minimum` and `maximum` are inclusive; `choices` become EnumValues in the definition;
    `or_word` is allowed beside what `prefix` asks for; `event_member`: the member of the deploy event that it sets."""

    name: str
    type: type
    default: Value | None  # None: the settings give it (the URIs)
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    prefix: str = ""
    or_word: str = ""
    event_member: str = ""

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


def _text(name: str, default: str | None, help: str, prefix: str = "") -> Parameter:
    return Parameter(name=name, type=str, default=default, help=help, prefix=prefix)


def _choice(name: str, help: str, *choices: str) -> Parameter:
    """One of `choices`, the first by default."""
    return Parameter(name=name, type=str, default=choices[0], help=help, choices=choices)


def _integer(name: str, default: int, minimum: int, maximum: int, help: str) -> Parameter:
    return Parameter(name=name, type=int, default=default, help=help, minimum=minimum, maximum=maximum)


def _number(name: str, default: float, minimum: float, maximum: float, help: str) -> Parameter:
    return Parameter(name=name, type=float, default=default, help=help, minimum=minimum, maximum=maximum)


def _hyperparameter(name: str, help: str, default: Value | None = None, field: str = "") -> Parameter:
    """One that becomes a hyperparameter, with its type and bounds, and its default unless another is given.

    Unless `field` says so it has the same name: TrainableStages is trainable_stages.
    """
    return _as(Hyperparameters, field or _in_snake_case(name), name, help, default)


def _deployed(name: str, help: str, default: Value | None = None, member: str = "") -> Parameter:
    """One that becomes a member of the deploy function's event, likewise."""
    member = member or _in_snake_case(name)
    return _as(DeployEvent, member, name, help, default, event_member=member)


def _in_snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _as(settings: type, field: str, name: str, help: str, default: Any, event_member: str = "") -> Parameter:
    own = named(settings)[field]
    starts: Any = own.default if default is None else default
    return Parameter(
        name=name,
        type=plain_type(own),
        default=starts,
        help=help,
        minimum=own.metadata["low"],
        maximum=own.metadata["high"],
        choices=own.metadata["choices"],
        event_member=event_member,
    )


PARAMETERS: tuple[Parameter, ...] = (
    # Data
    _text("InputDataUri", None, "S3 prefix with one zip or tar of photos, or a folder tree", prefix="s3://"),
    _text("PretrainedWeightsUri", None, "S3 prefix with the backbone's state dict (or random.json)", prefix="s3://"),
    _number("MaxBrokenFraction", 0.05, 0, 1, "share of unreadable images above which Prepare stops"),
    _integer("MaxDuplicates", 0, 0, 1_000_000, "images that may stand in two splits before Prepare stops"),
    _integer("MaxImagePixels", 100_000_000, 1_000_000, 1_000_000_000, "larger images are set aside undecoded"),
    # Features
    _choice("Backbone", "torchvision network that turns a photo into features", "resnet50", "resnet18", "mobilenet_v2"),
    _integer("ImageSize", 224, 32, 512, "pixels of the random crops; the plain view, which is served, has 8/7 of them"),
    _integer("AugmentedViews", 4, 1, 32, "views of each training photo: the plain one and random crops"),
    # Tuning and training
    _hyperparameter("TrainableStages", "last stages of the backbone that Train fine-tunes (0: the head only, 5: all)"),
    _hyperparameter("Epochs", "epochs of each tuning trial and of the final training"),
    _choice("TuningStrategy", "how the tuner chooses hyperparameters", "Bayesian", "Random", "Hyperband"),
    _choice(
        "TuningEarlyStopping",
        "Auto ends a trial that is worse than the median of those before it; Hyperband ends trials without it",
        *("Off", "Auto"),
    ),
    _integer("MaxTuningJobs", 10, 1, 500, "tuning trials in all"),
    _integer("MaxParallelTuningJobs", 2, 1, 100, "tuning trials at a time"),
    _hyperparameter(
        "FasterServing", "make and measure faster forms of the trained model, and serve the best", field="optimize"
    ),
    _hyperparameter("Seed", "seed of views, initial weights and shuffling", 7),
    # Gate and registry
    _number("AccuracyThreshold", 0.8, 0, 1, "test top-1 below which nothing is registered"),
    _text("BlockingRules", ",".join(rules.BLOCKING_RULES), "Debugger rules that stop the model; the others only warn"),
    _text(
        "StopOnIssue",
        rules.NOTHING,
        "Debugger rules that end the training as soon as one finds something; none: all of it",
    ),
    _text(
        "RuleParameters",
        rules.NOTHING,
        "rules' thresholds as Rule.parameter=value,…; a rule named here is not left to SageMaker (debugger=managed)",
    ),
    _choice("TensorBoard", "write what training saved for the rules as TensorBoard event files too", "off", "on"),
    _choice(
        "ModelApprovalStatus",
        "approval that a registered model starts with",
        *("Approved", "PendingManualApproval", "Rejected"),
    ),
    # Machines
    _text("ProcessingInstanceType", "ml.m5.2xlarge", "instances of Prepare, Embed, Debug and Evaluate", prefix="ml."),
    _integer("ProcessingInstanceCount", 1, 1, 100, "instances of Prepare and Embed; each takes its share"),
    _text("TrainingInstanceType", "ml.m5.2xlarge", "instances of Tune and Train", prefix="ml."),
    _integer("TrainingInstanceCount", 1, 1, 32, "hosts of the final training, joined by torchrun"),
    # Endpoint
    Parameter(
        name="EndpointInstanceType",
        type=str,
        default="ml.m5.xlarge",
        help="instances of the endpoint",
        prefix="ml.",
        or_word=SERVERLESS,
        event_member="instance_type",
    ),
    _deployed("EndpointMinInstances", "instances that always serve", 1, "min_instances"),
    _deployed("EndpointMaxInstances", "instances that autoscaling may reach", 3, "max_instances"),
    _deployed("TargetInvocationsPerInstance", "requests per minute and instance to scale towards", 600.0),
    _deployed("ScaleInCooldown", "seconds between two removals of instances", 300),
    _deployed("ScaleOutCooldown", "seconds between two additions of instances", 60),
    _deployed("ServerlessMemoryMB", "memory of a serverless endpoint, in steps of 1024"),
    _deployed("ServerlessMaxConcurrency", "requests that a serverless endpoint answers at a time"),
    _deployed("CanaryPercent", "share of the requests that an update gives a new model first (0: all at once)"),
    _deployed("CanaryWaitSeconds", "how long alarms watch the canary, and then the whole new fleet"),
    _deployed("MaxLatencyMilliseconds", "mean answer time of the model that sets off the alarm"),
    _deployed("DataCapturePercent", "share of the requests that are kept in the bucket with their answers", 0),
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
    for name, nothing in (("BlockingRules", ""), ("StopOnIssue", rules.NOTHING)):
        for rule in str(values.get(name, nothing)).split(","):
            if rule not in ("", nothing, *rules.RULES):
                raise ParameterError(f"{name} names {rule!r}, which is no rule.", f"Rules: {', '.join(rules.RULES)}.")
    _check_rule_parameters(str(values.get("RuleParameters", rules.NOTHING)))
    return values


def _check_rule_parameters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ParameterError(f"RuleParameters has {len(text)} characters.", f"AWS takes {MAX_LENGTH}: name fewer.")
    rules.parse(text, lambda headline, way_out: ParameterError(f"RuleParameters: {headline}", way_out))


def _check_serverless(values: Mapping[str, Value]) -> None:
    memory = int(values.get("ServerlessMemoryMB", 1024))
    if memory % 1024:
        raise ParameterError(f"ServerlessMemoryMB cannot be {memory}.", "SageMaker has it in steps of 1024.")
    if values.get("EndpointInstanceType") == SERVERLESS and values.get("DataCapturePercent"):
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
