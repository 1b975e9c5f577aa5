"""Everything that is wrong with a definition.

One small function per rule, grouped in `rules/` by what they look at. An error would fail on AWS; a warning would not,
or not yet. `local`, given, adds what the server on this machine would refuse.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from sagelocal.definition import local as local_rules
from sagelocal.definition.document import TOO_DEEP, Definition, NotADefinition, read
from sagelocal.definition.findings import Finding
from sagelocal.definition.local import FindImage
from sagelocal.definition.rules import envelope, expressions, images, order, parameters, processing, requests, training

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
    parameters.parameter_default_obeys_type_and_enum,
    parameters.parameter_is_used,
    parameters.parameter_names_an_instance_type_that_exists,
    order.depends_on,
    order.no_cycle,
    order.references_stay_in_their_branch,
    expressions.functions_exist,
    expressions.expressions_resolve,
    expressions.conditions_compare_what_can_be_compared,
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


def lint(text: str, *, local: FindImage | None = None, extra: Sequence[Rule] = ()) -> list[Finding]:
    """Everything that is wrong with a definition, in the order of the rules; never raises for what the text says.

    `local`: how to find an image in the images files, to be told too what the server on this machine refuses.
    `extra`: rules of the caller's own.
    """
    try:
        return check(read(text), local=local, extra=extra)
    except NotADefinition as problem:
        return [problem.finding]


def check(definition: Definition, *, local: FindImage | None = None, extra: Sequence[Rule] = ()) -> list[Finding]:
    """The same of a definition that was read already."""
    rules = [*RULES, *extra]
    if local:
        mine = local_rules.step_types_run_here, local_rules.triggers_run_here, local_rules.members_run_here
        rules = [*mine, partial(local_rules.images_run_here, find_image=local), *rules]
    try:
        return [replace(finding, rule=_name(rule)) for rule in rules for finding in rule(definition)]
    except RecursionError:
        return [TOO_DEEP]


def _name(rule: Rule) -> str:
    return str(getattr(rule.func if isinstance(rule, partial) else rule, "__name__", ""))
