"""Rules on Training and Tuning steps: metrics, objective, ranges, spot instances, several hosts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sagelocal.core import patterns
from sagelocal.definition.document import Definition, Step, as_list, as_object, objects
from sagelocal.definition.findings import WARNING, Finding, shown, suggestion
from sagelocal.definition.rules.images import is_framework_image
from sagelocal.definition.types import Unresolvable, value_of

# Hyperparameters with which the containers' toolkit starts one process group over all hosts (any value but "false").
LAUNCHERS = (
    "sagemaker_torch_distributed_enabled",
    "sagemaker_mpi_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
)


@dataclass(frozen=True)
class Job:
    """A training job that a step starts: the step, where in it the request stands, and the request."""

    step: Step
    path: str
    request: dict[str, Any]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return as_object(self.request.get("HyperParameters", self.request.get("StaticHyperParameters")))

    @property
    def metrics(self) -> list[tuple[str, dict[str, Any]]]:
        """(field, definition) of each metric definition."""
        entries = as_object(self.request.get("AlgorithmSpecification")).get("MetricDefinitions")
        where = f"{self.path}.AlgorithmSpecification.MetricDefinitions"
        return [(f"{where}[{index}]", entry) for index, entry in objects(entries)]

    def finding(self, field: str, message: str, fix: str, **more: str) -> Finding:
        return Finding(step=self.step.name, field=f"{self.path}.{field}", message=message, fix=fix, **more)


def jobs(definition: Definition) -> Iterator[Job]:
    """Every training job: a Training step's own, and a Tuning step's trials."""
    for step in definition.steps:
        if step.type == "Training":
            yield Job(step, "Arguments", step.arguments)
        if step.type == "Tuning":
            single = as_object(step.arguments.get("TrainingJobDefinition"))
            if single:
                yield Job(step, "Arguments.TrainingJobDefinition", single)
            for index, request in objects(step.arguments.get("TrainingJobDefinitions")):
                yield Job(step, f"Arguments.TrainingJobDefinitions[{index}]", request)


def metric_regexes(definition: Definition) -> Iterator[Finding]:
    """Each expression compiles and captures the value in one group; each name stands once."""
    for job in jobs(definition):
        names: set[str] = set()
        for where, metric in job.metrics:
            field = where.removeprefix(f"{job.path}.")
            name, regex = str(metric.get("Name")), metric.get("Regex")
            if name in names:
                yield job.finding(f"{field}.Name", f"Two metrics are called {shown(name)}.", "Rename one of them.")
            names.add(name)
            if not isinstance(regex, str):
                continue
            try:
                groups = patterns.groups(regex)
            except patterns.InvalidExpression as problem:
                yield job.finding(f"{field}.Regex", f"{shown(regex)} does not compile: {problem}.", "Correct it.")
                continue
            if groups == 0:
                fix = "Put the value in parentheses, for instance loss=([0-9.]+)."
                yield job.finding(f"{field}.Regex", f"{shown(regex)} captures nothing.", fix)
            elif groups > 1:
                fix = "Only the first is read; write (?:…) for the others."
                message = f"{shown(regex)} has {groups} groups."
                yield job.finding(f"{field}.Regex", message, fix, severity=WARNING)


def tuning_objective_is_a_metric(definition: Definition) -> Iterator[Finding]:
    """AWS's own algorithms bring their metrics; a framework container has only those that are defined."""
    for job in jobs(definition):
        if job.step.type != "Tuning":
            continue
        config = as_object(job.step.arguments.get("HyperParameterTuningJobConfig"))
        objective = as_object(config.get("HyperParameterTuningJobObjective")) or as_object(
            job.request.get("TuningObjective")
        )
        wanted = objective.get("MetricName")
        names = [str(metric.get("Name")) for _, metric in job.metrics]
        image = as_object(job.request.get("AlgorithmSpecification")).get("TrainingImage")
        if isinstance(wanted, str) and wanted not in names and (names or is_framework_image(image)):
            fix = suggestion(wanted, names, "Add a metric definition of that name.")
            message = f"The objective {shown(wanted)} is none of the metric definitions."
            yield job.finding("AlgorithmSpecification.MetricDefinitions", message, fix)


def tuning_ranges(definition: Definition) -> Iterator[Finding]:
    """No hyperparameter is both tuned and static, and no range is empty."""
    for step in definition.steps:
        if step.type != "Tuning":
            continue
        ranges = as_object(as_object(step.arguments.get("HyperParameterTuningJobConfig")).get("ParameterRanges"))
        static = as_object(as_object(step.arguments.get("TrainingJobDefinition")).get("StaticHyperParameters"))
        for kind, entries in ranges.items():
            for index, entry in objects(entries):
                where = f"Arguments.HyperParameterTuningJobConfig.ParameterRanges.{kind}[{index}]"
                if str(entry.get("Name")) in static:
                    message = f"{entry['Name']} is tuned and static at once."
                    fix = "Remove it from the ranges or from StaticHyperParameters."
                    yield Finding(step=step.name, field=where, message=message, fix=fix)
                low, high = _number(entry.get("MinValue")), _number(entry.get("MaxValue"))
                if low is not None and high is not None and low >= high:
                    message = f"MinValue {entry['MinValue']} is not below MaxValue {entry['MaxValue']}."
                    yield Finding(step=step.name, field=where, message=message, fix="Widen the range.")
                if low is not None and low <= 0 and entry.get("ScalingType") == "Logarithmic":
                    fix = "Raise MinValue above 0, or write Linear."
                    message = f"A logarithmic range cannot begin at {entry['MinValue']}."
                    yield Finding(step=step.name, field=where, message=message, fix=fix)


def tuning_limits(definition: Definition) -> Iterator[Finding]:
    """Not more trials at a time than in all."""
    for step in definition.steps:
        config = as_object(step.arguments.get("HyperParameterTuningJobConfig")) if step.type == "Tuning" else {}
        limits = as_object(config.get("ResourceLimits"))
        total = _default(definition, limits.get("MaxNumberOfTrainingJobs"))
        parallel = _default(definition, limits.get("MaxParallelTrainingJobs"))
        if isinstance(total, int) and isinstance(parallel, int) and parallel > total:
            where = "Arguments.HyperParameterTuningJobConfig.ResourceLimits.MaxParallelTrainingJobs"
            message = f"{parallel} trials at a time are more than the {total} in all."
            yield Finding(step=step.name, field=where, message=message, fix="Lower it.")


def spot_has_its_waiting_time(definition: Definition) -> Iterator[Finding]:
    """MaxWaitTimeInSeconds stands exactly where EnableManagedSpotTraining is true, not below MaxRuntimeInSeconds.

    Source: CreateTrainingJob answers "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining
    is set to true" (aws/sagemaker-python-sdk#4140).
    """
    field = "StoppingCondition.MaxWaitTimeInSeconds"
    for job in jobs(definition):
        stopping = as_object(job.request.get("StoppingCondition"))
        choice = job.request.get("EnableManagedSpotTraining", False)
        spot = _default(definition, choice)
        waits = "MaxWaitTimeInSeconds" in stopping
        if spot is False and waits:
            fix = "Just remove it, or set EnableManagedSpotTraining to true."
            yield job.finding(field, "AWS refuses it while EnableManagedSpotTraining is false.", fix)
        elif spot is True and not waits:
            fix = "Add it: seconds to wait for capacity and to run, together."
            yield job.finding(field, "is missing, and EnableManagedSpotTraining is true.", fix)
        elif isinstance(choice, dict):
            only = "true" if waits else "false"
            fix = "Make spot a setting of the definition: a pipeline parameter cannot take the waiting time away."
            message = f"With this the parameter of EnableManagedSpotTraining can only be {only}."
            yield job.finding("EnableManagedSpotTraining", message, fix, severity=WARNING)
        wait = _default(definition, stopping.get("MaxWaitTimeInSeconds"))
        run = _default(definition, stopping.get("MaxRuntimeInSeconds"))
        if isinstance(wait, int) and isinstance(run, int) and wait < run:
            message = f"{wait} s are less than MaxRuntimeInSeconds, {run} s."
            yield job.finding(field, message, "It counts the waiting and the running: raise it.")


def debugger_rules(definition: Definition) -> Iterator[Finding]:
    """Rules have tensors to look at, names of their own, and (in AWS's evaluator) a rule to invoke."""
    for job in jobs(definition):
        configured = list(objects(job.request.get("DebugRuleConfigurations")))
        if configured and "DebugHookConfig" not in job.request:
            fix = "Add it: an S3OutputPath and the collections that the rules need."
            yield job.finding("DebugHookConfig", "is missing, so the rules have no tensors to evaluate.", fix)
        names: set[str] = set()
        for index, rule in configured:
            field, name = f"DebugRuleConfigurations[{index}]", str(rule.get("RuleConfigurationName"))
            if name in names:
                message = f"Two rules are called {shown(name)}."
                yield job.finding(f"{field}.RuleConfigurationName", message, "Rename one of them.")
            names.add(name)
            built_in = "sagemaker-debugger-rules" in str(rule.get("RuleEvaluatorImage"))
            if built_in and "rule_to_invoke" not in as_object(rule.get("RuleParameters")):
                fix = 'Add "rule_to_invoke": the name of a built-in rule, for instance Overfit.'
                yield job.finding(f"{field}.RuleParameters", "does not say which rule AWS's image shall run.", fix)


def several_hosts_have_a_launcher(definition: Definition) -> Iterator[Finding]:
    """In script mode each host runs the script alone, on all of the data, unless something joins them."""
    for job in jobs(definition):
        image = as_object(job.request.get("AlgorithmSpecification")).get("TrainingImage")
        if not is_framework_image(image) and "sagemaker_program" not in job.hyperparameters:
            continue
        if any(name in job.hyperparameters and job.hyperparameters[name] != "false" for name in LAUNCHERS):
            continue
        if any(
            channel.get("ChannelName") == "sm_drivers" for _, channel in objects(job.request.get("InputDataConfig"))
        ):
            continue  # ModelTrainer's drivers: what they launch stands in S3
        count = as_object(job.request.get("ResourceConfig")).get("InstanceCount")
        try:
            value = value_of(definition, count)
        except Unresolvable:
            continue
        highest = max((known for known in value.known if isinstance(known, int)), default=0)
        free = isinstance(count, dict) and len(value.known) < 2
        if highest > 1 or free:
            yield job.finding(
                "ResourceConfig.InstanceCount",
                f"{highest} hosts run without a distributed launcher."
                if highest > 1
                else f"{value.origin or 'it'} may be more than 1, and there is no distributed launcher.",
                "Set the hyperparameter sagemaker_torch_distributed_enabled (or mpi), or InstanceCount to 1.",
                severity=WARNING,
            )


def _number(text: Any) -> float | None:
    try:
        return float(text) if isinstance(text, str | int | float) else None
    except ValueError:
        return None


def _default(definition: Definition, value: Any) -> Any:
    """The value itself, or the default of the parameter that it is; None where that is not known."""
    try:
        known = value_of(definition, value).known
    except Unresolvable:
        return None
    return as_list(list(known))[0] if known else None
