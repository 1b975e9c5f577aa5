"""Every case of tests/definitions: what lint finds, what CreatePipeline answers, and how an execution ends."""

import json
import uuid
from functools import partial

import pytest

from sagelocal.core.errors import AwsError
from sagelocal.definition import errors, lint, render
from sagelocal.runtime import images
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.execution import records
from tests.sagelocal.definition_cases import all_cases, short, text_of
from tests.sagelocal.fake_jobs import FakeJobs

CASES = all_cases()
RAN = [(name, case) for name, case in CASES if "outcome" in case]
ROLE = "arn:aws:iam::123456789012:role/pipeline"


def create(context, text):
    request = {"PipelineName": "p", "PipelineDefinition": text, "RoleArn": ROLE, "ClientRequestToken": uuid.uuid4().hex}
    context.call("sagemaker", "CreatePipeline", **request)


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_lint_and_create_pipeline_say_the_same_of_a_definition(context, case):
    text = text_of(case)
    found, here = lint(text), lint(text, local=partial(images.find, context))
    assert sorted(map(short, found)) == sorted(case["findings"]), render(found)
    assert sorted({*map(short, here)} - {*map(short, found)}) == sorted(case.get("local", [])), render(here)
    for said in case.get("says", []):
        assert any(said in str(finding) for finding in found), render(found)
    try:
        create(context, text)
        answer = "created"
    except AwsError as refused:
        answer = "refused"
        assert refused.code == "ValidationException" and all(
            str(finding) in refused.message for finding in errors(here)
        )
    assert answer == case["answer"] == ("refused" if errors(here) else "created"), render(here)


@pytest.mark.parametrize("case", [case for _, case in RAN], ids=[name for name, _ in RAN])
def test_an_execution_of_a_definition_ends_as_it_should(context, monkeypatch, case):
    objects.create_bucket(context, "bucket")
    FakeJobs(context).install(monkeypatch).plan.update(case.get("plan", {}))
    create(context, text_of(case))
    wanted, request = case["outcome"], {"PipelineName": "p", "ClientRequestToken": uuid.uuid4().hex}
    if "refused" in wanted:
        with pytest.raises(AwsError, match=wanted["refused"]):
            context.call("sagemaker", "StartPipelineExecution", **request)
        return
    arn = context.call("sagemaker", "StartPipelineExecution", **request)["PipelineExecutionArn"]
    ended = context.store.wait(records.EXECUTION, arn, lambda e: e["PipelineExecutionStatus"] not in records.RUNNING)
    steps = {step["StepName"]: step for step in records.steps(context.store, arn)}
    assert ended["PipelineExecutionStatus"] == wanted["status"], json.dumps(ended)
    assert {name: step["StepStatus"] for name, step in steps.items()} == wanted["steps"]
    assert wanted.get("reason", "") in ended.get("FailureReason", "")
    for name, reason in wanted.get("reasons", {}).items():
        assert reason in steps[name]["FailureReason"]


def test_there_are_enough_cases_and_each_has_a_name_of_its_own():
    names = [name for name, _ in CASES]
    assert len(names) >= 300 and len(set(names)) == len(names)
