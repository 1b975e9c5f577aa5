"""Evaluate one Debugger rule, as SageMaker's rule-evaluator image does: `rule_to_invoke` and the rule's parameters are
environment variables.

It ends with 0. Where the rule's condition is met, /opt/ml/output/message says so and begins with
RuleEvaluationConditionMet, and findings.json has the findings. A rule that cannot be evaluated ends with 1: Error.
"""

import json
import os

import debug
from breeds.base import container
from breeds.base.container import MESSAGE_LIMIT, InputError

from contract.rules import PARAMETERS, checked

RULE = "rule_to_invoke"
TENSORS = "processing/input/tensors"
FINDINGS = "processing/output/rule/findings.json"


def main() -> None:
    name = os.environ.get(RULE, "")
    if name not in PARAMETERS:
        raise InputError(f"{RULE}={name!r} is no rule.", f"Rules are {', '.join(PARAMETERS)}.")
    given = checked({name: {key: os.environ[key] for key in PARAMETERS[name] if key in os.environ}}, InputError)
    (found,) = debug.evaluate_here(container.base_dir() / TENSORS, [name], given, "")
    details = found["StatusDetails"]
    if found["RuleEvaluationStatus"] == "Error":
        raise InputError(f"{name}: {details}")
    output = container.base_dir() / FINDINGS
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found["findings"], indent=1))
    if found["findings"]:
        _say_met(name, found["findings"][0]["step"], details)
    print(f"{name}: {found['RuleEvaluationStatus']} {details}".rstrip(), flush=True)


def _say_met(name: str, step: int, why: str) -> None:
    met = (
        f"RuleEvaluationConditionMet: Evaluation of the rule {name} at step {step} resulted in the condition being met"
    )
    path = container.base_dir() / "output" / "message"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{met}: {why}"[:MESSAGE_LIMIT])


if __name__ == "__main__":
    container.run(main)
