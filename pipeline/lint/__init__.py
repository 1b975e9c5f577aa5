"""Checks a pipeline definition offline against AWS's own service model: `python -m pipeline lint [FILE]`.

One small function per rule, grouped by what they look at. It knows nothing of Pawline: any definition can be checked.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from pipeline.lint import envelope, graph, images, parameters, processing, references, requests, training
from pipeline.lint.document import TOO_DEEP, Definition, NotADefinition, read
from pipeline.lint.findings import ERROR, WARNING, Finding, errors, render

__all__ = ["ERROR", "RULES", "WARNING", "Finding", "errors", "lint", "render"]

Rule = Callable[[Definition], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    envelope.root_members,
    envelope.size,
    envelope.step_names,
    envelope.step_types,
    envelope.members_beside_arguments,
    envelope.output_parameters,
    envelope.fail_has_a_message,
    envelope.cache_config,
    envelope.retry_policies,
    parameters.parameter_members,
    parameters.parameter_has_a_default,
    parameters.parameter_default_obeys_type_and_enum,
    parameters.parameter_is_used,
    parameters.parameter_names_an_instance_type_that_exists,
    graph.depends_on,
    graph.no_cycle,
    graph.references_stay_in_their_branch,
    graph.register_is_gated,
    references.expressions_resolve,
    references.conditions_compare_what_can_be_compared,
    requests.arguments_fit_the_request,
    processing.local_paths,
    processing.entrypoint_lies_in_an_input,
    processing.arguments_name_places_that_exist,
    processing.property_files,
    training.metric_regexes,
    training.tuning_objective_is_a_metric,
    training.tuning_ranges,
    training.tuning_limits,
    training.spot_has_its_waiting_time,
    training.debugger_rules,
    training.several_hosts_have_a_launcher,
    images.images_exist,
    images.images_get_patches,
)


def lint(document: str, logs: Mapping[str, str] | None = None) -> list[Finding]:
    """Everything that is wrong with a definition, in the order of RULES; never raises for what the text says.

    `logs` (step name → what its job printed) lets the metric definitions be tried on a recorded log.
    """
    try:
        definition = read(document)
    except NotADefinition as problem:
        return [problem.finding]
    rules = {rule.__name__: rule for rule in RULES}
    if logs:
        rules["log_has_every_metric"] = partial(training.log_has_every_metric, logs=logs)
    try:
        return [replace(finding, rule=name) for name, rule in rules.items() for finding in rule(definition)]
    except RecursionError:
        return [TOO_DEEP]
