"""The one reader of pipeline definitions: `lint` and CreatePipeline are two callers of it."""

from sagelocal.definition.checks import Rule, check, lint
from sagelocal.definition.document import Definition, NotADefinition, Step, read
from sagelocal.definition.findings import ERROR, WARNING, Finding, counted, errors, render

__all__ = [
    "ERROR",
    "WARNING",
    "Definition",
    "Finding",
    "NotADefinition",
    "Rule",
    "Step",
    "check",
    "counted",
    "errors",
    "lint",
    "read",
    "render",
]
