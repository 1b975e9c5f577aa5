"""Judge a training by the Debugger rules: saved tensors in, debug.json (docs/formats.md) out.

    python code/debug.py TENSORS [--output DIR] [--rules Overfit,NotLearning] [--blocking-rules Overfit,Overtraining]
                         [--rule-parameters Overfit.ratio_threshold=0.3,Overtraining.delta=0.02]
                         [--training-job NAME [--managed-rules Overfit,Overtraining]] [--tensorboard on]

Where a rule cannot be evaluated its status is Error, never NoIssuesFound: the gate fails closed.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from breeds.base import container, extras
from breeds.base.container import InputError
from breeds.debugger import managed_rules, rule_parameters

from contract import rules

MAX_FINDINGS = 20
# The gate puts the summary into its Fail step's message, with up to 400 characters more. A step's FailureReason has
# 1,024 at most (API reference, PipelineExecutionStep), the Fail step's own ErrorMessage 3,072 (FailStepMetadata).
MAX_SUMMARY = 600
PASS = "NoIssuesFound"
TENSORS = container.base_dir() / "processing/input/tensors"
OUTPUT = container.base_dir() / "processing/output/debug"


def main() -> None:
    arguments = parse_arguments()
    if arguments.managed_rules and not arguments.training_job:
        raise InputError("--managed-rules needs --training-job.", "Give the name of the job that SageMaker judged.")
    try:
        parameters = rule_parameters.parse(arguments.rule_parameters)
        # SageMaker evaluated those with its defaults: a request's rules are fixed before the parameters are known.
        managed = [rule for rule in parse_rule_names(arguments.managed_rules) if rule not in parameters]
        blocking = parse_rule_names(arguments.blocking_rules)
        wanted = {*parse_rule_names(arguments.rules), *managed, *blocking, *parameters}
        names = [name for name in rules.RULES if name in wanted]
        verdict = judge(arguments.directory, blocking, parameters, managed, arguments.training_job, names)
    except InputError as error:
        write(arguments.output, refused(str(error)))
        raise
    write(arguments.output, verdict)
    if arguments.output is not None:
        draw(arguments.directory, arguments.output, verdict, with_tensorboard=arguments.tensorboard == "on")
    print(table(verdict), flush=True)


def parse_arguments() -> Any:
    parser = container.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("directory", type=Path, nargs="?", metavar="TENSORS", help="what a training's hook saved")
    add("--tensors", type=Path, default=TENSORS, help="the same")
    add("--output", type=Path, help="where debug.json and its report go")
    add("--rules", default=",".join(rules.DEFAULT_RULES), help="rules to apply, besides the blocking ones")
    add("--blocking-rules", default=",".join(rules.BLOCKING_RULES), help="rules that keep a model from passing")
    add("--rule-parameters", default=rules.NOTHING, help="Rule.parameter=value,…, a JSON object, or none")
    add("--training-job", default="", help="whose tensors these must be")
    add("--managed-rules", default="", help="rules that SageMaker evaluates on the training job")
    add("--tensorboard", choices=("on", "off"), default="off", help="write event files for it too")
    arguments = parser.parse_args()
    # A person who names a directory wants the table; a job's output is a file.
    if arguments.directory is None:
        arguments.directory, arguments.output = arguments.tensors, arguments.output or OUTPUT
    return arguments


def write(output: Path | None, verdict: dict[str, Any]) -> None:
    """Write debug.json; nothing without `output`."""
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "debug.json").write_text(json.dumps(verdict, indent=1))


def draw(tensors: Path, output: Path, verdict: dict[str, Any], *, with_tensorboard: bool) -> None:
    """The report beside debug.json. The verdict stands whether or not it can be drawn."""
    try:
        from breeds.debugger import debug_report

        debug_report.write(tensors, output, verdict, with_tensorboard)
    except Exception as error:
        print(f"debug.html was not written: {type(error).__name__}: {error}", flush=True)


def parse_rule_names(text: str) -> list[str]:
    """Names with commas between. Raises InputError for one that is not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in rules.RULES:
            raise InputError(f"Rule {name!r} is not known.", f"Rules: {', '.join(rules.RULES)}.")
    return names


def judge(
    tensors: Path,
    blocking: list[str],
    parameters: rules.ByRule,
    managed: Sequence[str] = (),
    training_job: str = "",
    names: Sequence[str] = rules.DEFAULT_RULES,
) -> dict[str, Any]:
    """The content of debug.json; `parameters` are those that rule_parameters.parse gave.

    SageMaker's verdict is waited for on `managed` rules; the others of `names` are evaluated here.
    """
    own = evaluate_here(tensors, [name for name in names if name not in managed], parameters, training_job)
    answers = managed_rules.wait(training_job, managed) if managed else {}
    asked = {name: status(name, *answer) for name, answer in answers.items()}
    by_name = {rule["RuleConfigurationName"]: rule for rule in own} | asked
    return verdict_of([by_name[name] for name in names if name in by_name], blocking)


def evaluate_here(tensors: Path, names: list[str], parameters: rules.ByRule, training_job: str) -> list[dict[str, Any]]:
    """Entries of `rules` in debug.json, all of them Error where smdebug or tensors are missing. Raises InputError."""

    def all_errors(reason: str) -> list[dict[str, Any]]:
        return [status(name, "Error", reason) for name in names]

    try:
        if missing := extras.ensure(extras.DEBUGGING, with_dependencies=False):
            raise ImportError(missing)
        from breeds.debugger.rules import RULES, open_trial
    except Exception as error:  # a protobuf that does not go with smdebug raises TypeError
        return all_errors(f"smdebug cannot be imported: {error}")
    try:
        trial = open_trial(tensors)
        unfinished = why_incomplete(trial, training_job)
    except Exception as error:
        return all_errors(describe(error))

    def findings(name: str) -> list[Any]:
        return RULES[name](trial, **parameters.get(name, {})).findings()

    return [evaluate(name, partial(findings, name), unfinished) for name in names]


def why_incomplete(trial: Any, training_job: str) -> str:
    """Why the tensors tell only a part; empty where they tell all. Raises NoUsableData for those of another job."""
    from breeds.debugger.rules import NoUsableData
    from breeds.debugger.rules.saved import state

    known = state(trial)
    owner = known.get("training_job")
    if training_job and owner != training_job:
        raise NoUsableData(f"the tensors are of the training job {owner or '(not named)'}, not of {training_job}.")
    if known.get("finished"):
        return ""
    return f"the training did not come to its end: step {max(trial.steps())} is its last"


def evaluate(name: str, findings_of: Callable[[], list], unfinished: str = "") -> dict[str, Any]:
    """One entry of `rules`; whatever keeps a rule from an answer becomes its Error.

    What an unfinished training shows already counts; that it shows nothing does not.
    """
    try:
        findings = findings_of()
    except Exception as error:
        return status(name, "Error", describe(error))
    if not findings:
        return status(name, "Error", f"nothing was found, but {unfinished}.") if unfinished else status(name, PASS, "")
    more = f" ({len(findings)} findings)" if len(findings) > 1 else ""
    kept = [{key: finite(value) for key, value in asdict(f).items() if key != "text"} for f in findings[:MAX_FINDINGS]]
    return status(name, "IssuesFound", f"{findings[0].text}{more}. {findings[0].advice}", kept)


def status(name: str, value: str, details: str, findings: list[dict] | None = None) -> dict[str, Any]:
    """One entry of `rules` in debug.json."""
    return {
        "RuleConfigurationName": name,
        "RuleEvaluationStatus": value,
        "StatusDetails": details,
        "findings": findings or [],
    }


def refused(reason: str) -> dict[str, Any]:
    """The verdict where the request itself is wrong: no rule was applied, and nothing passes."""
    return {"verdict": "Error", "blocking": 1, "summary": shortened(reason, MAX_SUMMARY), "rules": []}


def verdict_of(evaluated: list[dict[str, Any]], blocking: list[str]) -> dict[str, Any]:
    """`blocks` says of each rule whether it counts; what SageMaker calls Stopped is as much of an answer as Error."""
    evaluated = [{**rule, "blocks": rule["RuleConfigurationName"] in blocking} for rule in evaluated]
    states = [rule["RuleEvaluationStatus"] for rule in evaluated]
    troubled = [rule for rule in evaluated if rule["RuleEvaluationStatus"] != PASS]
    return {
        "verdict": "IssuesFound" if "IssuesFound" in states else "Error" if troubled else PASS,
        "blocking": sum(rule["blocks"] for rule in troubled),
        "summary": summary(sorted(troubled, key=by_weight)),
        "rules": evaluated,
    }


def by_weight(rule: dict[str, Any]) -> tuple[bool, bool]:
    """Sort key: rules that block before those that warn, findings before rules without an answer."""
    return not rule["blocks"], rule["RuleEvaluationStatus"] != "IssuesFound"


def summary(troubled: list[dict[str, Any]]) -> str:
    """At most MAX_SUMMARY characters of what the rules say, in their order; the last ones by name alone.

    Advice goes before a finding does: `rules` has all of it.
    """
    if not troubled:
        return "no rule fired"
    whole = "; ".join(f"{rule['RuleConfigurationName']}: {rule['StatusDetails']}" for rule in troubled)
    if len(whole) <= MAX_SUMMARY:
        return whole
    said, names = [_without_advice(rule) for rule in troubled], [rule["RuleConfigurationName"] for rule in troubled]
    for count in range(len(said), 0, -1):
        left = names[count:]
        tail = [f"and {len(left)} more rule{'s'[: len(left) > 1]}: {', '.join(left)}"] if left else []
        if len(text := "; ".join([*said[:count], *tail])) <= MAX_SUMMARY:
            return text
    room = MAX_SUMMARY - len("; ".join(["", *tail]))
    return "; ".join([shortened(said[0], room), *tail])


def _without_advice(rule: dict[str, Any]) -> str:
    advice = rule["findings"][0]["advice"] if rule["findings"] else ""
    return f"{rule['RuleConfigurationName']}: {rule['StatusDetails'].removesuffix(advice).rstrip(' .')}"


def shortened(text: str, length: int) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip(" ,;:") + "…"


def describe(error: Exception) -> str:
    """A reason in one line; the class is named where its text alone would not say what kind of trouble it is."""
    from_rules = type(error).__name__ == "NoUsableData"
    return str(error) if from_rules else f"{type(error).__name__}: {error}"


def finite(value: Any) -> Any:
    """JSON has no infinity; SageMaker's JsonGet could not read it."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def table(verdict: dict[str, Any]) -> str:
    """The verdict as text for the log."""
    lines = [f"{'rule':<26}{'status':<16}{'blocks':<8}details"]
    for rule in verdict["rules"]:
        name, state, blocks = rule["RuleConfigurationName"], rule["RuleEvaluationStatus"], rule["blocks"]
        lines.append(f"{name:<26}{state:<16}{'yes' if blocks else 'no':<8}{rule['StatusDetails']}".rstrip())
    return "\n".join([*lines, f"verdict: {verdict['verdict']}, {verdict['blocking']} blocking"])


if __name__ == "__main__":
    container.run(main)
