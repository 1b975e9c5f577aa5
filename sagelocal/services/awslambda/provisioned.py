"""Which workers a function's provisioned concurrency asks for, and how many of them are there.

What is provisioned for an
alias follows it to another version, and is divided between two by their weights.
"""

from sagelocal.core.context import Context
from sagelocal.services.awslambda.documents import FunctionDocument
from sagelocal.services.awslambda.pool import Provisioned, pool
from sagelocal.services.awslambda.process import Function


def apply(context: Context, name: str, body: FunctionDocument | None) -> None:
    """Have the pool keep what a function's document asks for; nothing where the function is gone (None)."""
    wanted: dict[Function, int] = {}
    if body:
        for qualifier in body.get("Provisioned", {}):
            for function, number in shares(body, qualifier).items():
                wanted[function] = wanted.get(function, 0) + number
    pool(context).provision(name, wanted)


def shares(body: FunctionDocument, qualifier: str) -> dict[Function, int]:
    """The workers that one version or alias asks for, by the version that they run."""
    number = body["Provisioned"][qualifier]["Number"]
    alias = body["Aliases"].get(qualifier)
    if alias is None:
        return {Function.of(body["Versions"][qualifier]): number}
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    found = {version: round(number * weight) for version, weight in weights.items()}
    found[alias["FunctionVersion"]] = number - sum(found.values())
    return {Function.of(body["Versions"][version]): share for version, share in found.items() if share}


def state(context: Context, body: FunctionDocument, qualifier: str) -> Provisioned:
    """How many of one version's or alias's workers are ready, and the first problem that keeps others from it."""
    found = [(pool(context).provisioned(function), number) for function, number in shares(body, qualifier).items()]
    ready = sum(min(each.ready, number) for each, number in found)
    return Provisioned(ready, next((each.problem for each, _ in found if each.problem), ""))


def total(body: FunctionDocument, without: str = "") -> int:
    """How many are provisioned for all of a function but one version or alias."""
    return sum(config["Number"] for name, config in body.get("Provisioned", {}).items() if name != without)
