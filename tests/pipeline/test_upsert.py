"""Creating and updating the pipeline, on a real embedded server."""

import boto3
import pytest

from pipeline import definition, settings, upsert
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from sagelocal.definition import errors, lint


@pytest.fixture
def cloud(server, monkeypatch) -> Cloud:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    return Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1"))


def test_it_says_created_then_unchanged_then_updated_with_what_changed(cloud, monkeypatch):
    assert upsert.upsert(cloud).change == "created"
    assert upsert.upsert(cloud).change == "unchanged"
    real = definition.definition(cloud.settings)
    changed = real.replace('"MaxRuntimeInSeconds": 86400', '"MaxRuntimeInSeconds": 43200')
    assert changed != real
    monkeypatch.setattr(definition, "definition", lambda *_: changed)
    again = upsert.upsert(cloud)
    assert again.change == "updated"
    assert again.diff == [
        "- Steps[Train].Arguments.StoppingCondition.MaxRuntimeInSeconds: 86400",
        "+ Steps[Train].Arguments.StoppingCondition.MaxRuntimeInSeconds: 43200",
    ]


def test_a_definition_that_aws_would_refuse_is_not_sent(cloud, monkeypatch):
    broken = definition.definition(cloud.settings).replace('"Strategy"', '"Strategem"')
    assert errors(lint(broken))
    monkeypatch.setattr(definition, "definition", lambda *_: broken)
    with pytest.raises(UserError, match="Tune"):
        upsert.upsert(cloud)
