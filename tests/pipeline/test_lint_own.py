"""Our own definition passes its own lint, and its metric definitions find what code/train.py printed."""

from pathlib import Path

import pytest

from pipeline import definition, settings
from pipeline.rules import RULES
from sagelocal.definition import lint, render

# Printed by code/train.py (3 epochs on 120 synthetic features).
LOG = (Path(__file__).parents[1] / "definitions" / "base" / "train.log").read_text()


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_our_definition_has_no_finding(region):
    document = definition.definition(settings.from_environment({"AWS_REGION": region}))
    findings = lint(document, extra=RULES)
    assert not findings, render(findings)
