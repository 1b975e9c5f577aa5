"""Who may write what: the rendered roles, asked of the server's own evaluator."""

import json

import pytest

from sagelocal.services.iam import evaluation, policy
from tests.infra.rendered import SETTINGS, listed, statements

JOBS = ("job", "train", "evaluate")

# What another job, a function or the endpoint executes or believes.
OTHERS = [
    "code/abc/sourcedir.tar.gz",
    "code/abc/src/train.py",
    "code/abc/src/sitecustomize.py",
    "functions/deploy-abc.zip",
    "lambda/deploy.zip",
    "models/run1/output/model.tar.gz",
    "releases/1/0a/model.tar.gz",
    "raw/dogs.zip",
    "runs/other/evaluation/evaluation.json",
    "runs/other/debug/debug.json",
    "captured/x.jsonl",
    "weights/w.pth",
    "model.tar.gz",
]

# What each role's own jobs write.
OWN = {
    "job": [
        "runs/e/prepared/manifest/manifest.json",
        "runs/e/features/features.json",
        "cache/prepare/2-256px-100000000/whole-0.txt",
        "trials/e-Tune-x-001-a/output/model.tar.gz",
    ],
    "train": [
        "models/pipelines-e-Train-x/output/model.tar.gz",
        "tensors/pipelines-e-Train-x/debug-output/index/0.json",
        "checkpoints/e-Tune-x-001-a/0.pt",
    ],
    "evaluate": ["runs/e/evaluation/evaluation.json", "runs/e/debug/debug.json"],
    "ec2": ["models/ec2-20260101-000000-0a/model.tar.gz"],
    "deploy": ["releases/1/0a/model.tar.gz"],
    "model": ["captured/pawline/x.jsonl"],
}


@pytest.fixture(scope="module")
def allows(resources):
    """Whether a role's statements allow an action on a resource, with condition keys."""
    held: dict[str, list] = {}
    for role, statement in statements(resources):
        arns = [
            r if r.startswith(("arn:", "*")) else f"arn:aws:x:::{r.strip('<>')}" for r in listed(statement["Resource"])
        ]
        held.setdefault(role.removeprefix("pawline-"), []).append({**statement, "Resource": arns})
    parsed = {role: policy.parse(json.dumps({"Version": "2012-10-17", "Statement": s})) for role, s in held.items()}

    def ask(role: str, action: str, resource: str, **keys: str) -> bool:
        call = policy.Call(action, resource, policy.keys_of({name.replace("__", ":"): v for name, v in keys.items()}))
        return evaluation.decide(parsed[role], call, {}).allowed

    ask.roles = parsed
    return ask


def of(key: str) -> str:
    return f"arn:aws:s3:::{SETTINGS.bucket}/pawline/{key}"


@pytest.mark.parametrize("key", OTHERS)
def test_no_job_may_write_what_another_job_a_function_or_the_endpoint_executes(allows, key):
    writers = {role for role in allows.roles if allows(role, "s3:PutObject", of(key))}
    believed = {"evaluate"} if key.startswith("runs/") else set()  # by their own role, never by what makes a model
    expected = {"deploy"} if key.startswith("releases/") else {"model"} if key.startswith("captured/") else believed
    assert writers == expected


@pytest.mark.parametrize(("role", "key"), [(role, key) for role, keys in OWN.items() for key in keys])
def test_each_role_writes_its_own_outputs_and_no_other_role_does(allows, role, key):
    assert {each for each in allows.roles if allows(each, "s3:PutObject", of(key))} == {role}


def test_nobody_deletes_objects(allows):
    for role in allows.roles:
        for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutBucketPolicy"):
            assert not allows(role, action, of("models/pipelines-e/output/model.tar.gz")), (role, action)


def test_the_endpoint_reads_releases_alone_and_jobs_read_their_inputs(allows):
    assert allows("model", "s3:GetObject", of("releases/1/0a/model.tar.gz"))
    assert not allows("model", "s3:GetObject", of("models/pipelines-e/output/model.tar.gz"))
    assert all(
        allows(role, "s3:GetObject", of(key)) for role in JOBS for key in ("raw/dogs.zip", "code/a/src/train.py")
    )


@pytest.mark.parametrize(
    ("job", "allowed"),
    [("abc123-Tune-x", True), ("abc123-tune-x", True), ("somebodys-search", False), ("tune", False)],
)
def test_the_pipeline_starts_and_stops_tuning_jobs_of_its_own_step_only(allows, job, allowed):
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{job}"
    for operation in ("Create", "Stop"):
        assert allows("pipeline", f"sagemaker:{operation}HyperParameterTuningJob", arn) is allowed


@pytest.mark.parametrize("name", ["deploy", "predict", "retrain"])
def test_lambda_joins_the_vpc_for_a_function_and_the_functions_code_cannot(allows, name):
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:pawline-{name}"
    assert allows(name, "ec2:CreateNetworkInterface", "*")
    assert not allows(name, "ec2:CreateNetworkInterface", "*", lambda__SourceFunctionArn=arn)
