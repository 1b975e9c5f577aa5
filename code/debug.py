"""Judge a finished training by the Debugger rules: saved tensors in, debug.json (docs/formats.md) out.

    python code/debug.py --tensors DIR --output DIR [--blocking-rules Overfit,Overtraining]
                         [--rule-parameters Overfit.ratio_threshold=0.3,Overtraining.delta=0.02]

Where a rule cannot be evaluated its status is Error, never NoIssuesFound: the gate fails closed.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from breeds import container
from breeds.container import InputError

RULE_NAMES = ("Overfit", "Overtraining", "VanishingGradient", "PoorWeightInitialization")
MAX_FINDINGS = 20


def main() -> None:
    parser = container.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensors", type=Path, default=Path("/opt/ml/processing/input/tensors"))
    parser.add_argument("--output", type=Path, default=Path("/opt/ml/processing/output/debug"))
    parser.add_argument("--blocking-rules", default=",".join(RULE_NAMES), help="rules that keep a model from passing")
    parser.add_argument("--rule-parameters", default="", help="Rule.parameter=value,…, or the same as a JSON object")
    arguments = parser.parse_args()
    blocking = parse_rule_names(arguments.blocking_rules)
    parameters = parse_parameters(arguments.rule_parameters)
    verdict = judge(arguments.tensors, blocking, parameters)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "debug.json").write_text(json.dumps(verdict, indent=1))
    print(table(verdict, blocking), flush=True)


def parse_rule_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in RULE_NAMES:
            raise InputError(f"Blocking rule {name!r} is not known.", f"Known are {', '.join(RULE_NAMES)}.")
    return names


def parse_parameters(text: str) -> dict[str, dict[str, Any]]:
    """{"Overfit": {"ratio_threshold": "0.3"}} from `Overfit.ratio_threshold=0.3,…` or that dictionary as JSON."""
    if text.strip().startswith("{"):
        try:
            parsed = json.loads(text)
            by_rule = {rule: dict(values) for rule, values in parsed.items()}
        except (ValueError, TypeError) as error:
            raise InputError(
                f"--rule-parameters is not a JSON object of objects ({error}).", 'As {"Overfit": {…}}.'
            ) from None
    else:
        by_rule = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            path, equals, value = item.partition("=")
            rule, dot, name = path.strip().partition(".")
            if not equals or not dot:
                raise InputError(f"Rule parameter {item!r} cannot be read.", "Write Rule.parameter=value.")
            by_rule.setdefault(rule, {})[name] = value.strip()
    for rule in by_rule:
        if rule not in RULE_NAMES:
            raise InputError(f"Rule {rule!r} is not known.", f"Known are {', '.join(RULE_NAMES)}.")
    return by_rule


def judge(tensors: Path, blocking: list[str], parameters: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The content of debug.json. Raises InputError for a bad rule parameter, and nothing else."""
    try:
        from breeds import rules
        from breeds.rules.base import checked_parameters
    except ImportError as error:
        return verdict_of(
            [status(name, "Error", f"smdebug cannot be imported: {error}") for name in RULE_NAMES], blocking
        )
    for name, values in parameters.items():
        checked_parameters(rules.RULES[name], values)
    try:
        trial = rules.open_trial(tensors)
    except Exception as error:
        return verdict_of([status(name, "Error", describe(error)) for name in RULE_NAMES], blocking)
    evaluated = [
        evaluate(name, lambda name=name: rules.RULES[name](trial, **parameters.get(name, {})).findings())
        for name in RULE_NAMES
    ]
    return verdict_of(evaluated, blocking)


def evaluate(name: str, findings_of: Callable[[], list]) -> dict[str, Any]:
    """One entry of `rules`; whatever keeps a rule from an answer becomes its Error."""
    try:
        findings = findings_of()
    except Exception as error:
        return status(name, "Error", describe(error))
    if not findings:
        return status(name, "NoIssuesFound", "")
    more = f" ({len(findings)} findings)" if len(findings) > 1 else ""
    kept = [{key: finite(value) for key, value in asdict(f).items() if key != "text"} for f in findings[:MAX_FINDINGS]]
    return status(name, "IssuesFound", f"{findings[0].text}{more}. {findings[0].advice}", kept)


def status(name: str, value: str, details: str, findings: list[dict] | None = None) -> dict[str, Any]:
    return {
        "RuleConfigurationName": name,
        "RuleEvaluationStatus": value,
        "StatusDetails": details,
        "findings": findings or [],
    }


def verdict_of(evaluated: list[dict[str, Any]], blocking: list[str]) -> dict[str, Any]:
    states = [rule["RuleEvaluationStatus"] for rule in evaluated]
    troubled = [rule for rule in evaluated if rule["RuleEvaluationStatus"] != "NoIssuesFound"]
    return {
        "verdict": next((state for state in ("IssuesFound", "Error") if state in states), "NoIssuesFound"),
        "blocking": sum(rule["RuleConfigurationName"] in blocking for rule in troubled),
        "summary": "; ".join(f"{rule['RuleConfigurationName']}: {rule['StatusDetails']}" for rule in troubled)
        or "no rule fired",
        "rules": evaluated,
    }


def describe(error: Exception) -> str:
    """A reason in one line; the class is named where its text alone would not say what kind of trouble it is."""
    from_rules = type(error).__name__ == "NoUsableData"
    return str(error) if from_rules else f"{type(error).__name__}: {error}"


def finite(value: Any) -> Any:
    """JSON has no infinity; SageMaker's JsonGet could not read it."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def table(verdict: dict[str, Any], blocking: list[str]) -> str:
    lines = [f"{'rule':<26}{'status':<16}{'blocks':<8}details"]
    for rule in verdict["rules"]:
        name = rule["RuleConfigurationName"]
        blocks = "yes" if name in blocking else "no"
        lines.append(f"{name:<26}{rule['RuleEvaluationStatus']:<16}{blocks:<8}{rule['StatusDetails']}".rstrip())
    return "\n".join([*lines, f"verdict: {verdict['verdict']}, {verdict['blocking']} blocking"])


if __name__ == "__main__":
    container.run(main)
