"""An account from empty to a scheduled pipeline and back to empty, from the template alone, by the commands."""

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.commands import last_json, pawline

FAST = [
    *("Backbone=resnet18", "ImageSize=64", "AugmentedViews=1", "MaxTuningJobs=2", "Epochs=3", "AccuracyThreshold=0"),
    "FasterServing=off",
]

# Statements that a run on this machine cannot need, and why they are there.
NOT_NEEDED_HERE = {
    **{
        f"pawline-{role}/LocateBucket": "SageMaker's own data agent asks where a bucket is; here nothing does"
        for role in ("job", "train", "evaluate")
    },
    "pawline-evaluate/AskForManagedRules": "rules run open by default (tests/e2e/test_debugger.py runs them managed)",
    "pawline-deploy/KeepFailedEvents": "no event fails in this run (tests/sagelocal/test_lambda_events.py)",
    "pawline-deploy/FindLeftovers": "only deleting an endpoint lists what it had (tests/lambda/test_deploy_scaling.py)",
    "pawline-deploy/SeeWhichModelsAreThere": "the first model has no champion (tests/e2e/test_main_job.py has one)",
    "pawline-predict/Trace": "there is no X-Ray here, and the function asks for none without its daemon",
    "pawline-model/KeepCaptured": "data capture is off by default (tests/sagelocal/test_data_capture.py)",
    "pawline-model/WatchUpdate": "only an update has alarms, and this run creates (tests/sagelocal/test_bluegreen.py)",
    "pawline-ec2/*": "only ec2-train uses this role (tests/pipeline/test_ec2.py)",
    "pawline-scheduler/*": "only a schedule uses this role (tests/sagelocal/test_scheduler.py)",
}


def documents(state_dir: Path) -> list[tuple]:
    """All but CloudWatch's metrics and sessions, which run out by themselves, and the server's own processes."""
    left_out = "('metric-hour', 'session', 'process')"
    query = f"SELECT kind, name, body FROM document WHERE kind NOT IN {left_out} ORDER BY kind, name"
    return sqlite3.connect(state_dir / "state.db").execute(query).fetchall()


def objects(state_dir: Path) -> list[str]:
    return sorted(str(p.relative_to(state_dir)) for p in (state_dir / "s3").rglob("*") if p.is_file())


def statements_page(server, method: str = "GET") -> bytes:
    """Which statement allowed what since the page was last deleted."""
    return server.ask(method, "/_sagelocal/iam/used")


@pytest.fixture(scope="module")
def empty(state_dir, server) -> tuple[list, list]:
    return documents(state_dir), objects(state_dir)


@pytest.fixture(scope="module")
def execution(state_dir, server, empty, tmp_path_factory) -> dict:
    """deploy-infra, upsert, upload, start: the report of the execution."""
    folder = tmp_path_factory.mktemp("photos")

    def command(*words: str) -> dict:
        done = pawline(state_dir, *words, "--json")
        assert done.returncode == 0, done.stderr
        return last_json(done)

    assert command("deploy-infra", "--local", "--yes")["change"] == "created"
    assert command("deploy-infra", "--local", "--yes")["change"] == "unchanged"
    assert command("upsert", "--local")["change"] == "created"
    assert command("upsert", "--local")["change"] == "unchanged"
    data = command("sample-data", str(folder))["path"]
    uploaded = command("upload", "--data", data, "--weights", "random")
    where = [f"InputDataUri={uploaded['input_data_uri']}", f"PretrainedWeightsUri={uploaded['weights_uri']}"]
    statements_page(server, "DELETE")
    report = command("start", "--follow", *FAST, *where)
    command("predict", "--file", str(first_photo(Path(data), folder)))
    command("schedule", "rate(1 day)", *where)
    return {**report, "where": where}


def first_photo(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as photos:
        name = next(n for n in photos.namelist() if "/test/" in n)
        (folder / "dog.jpg").write_bytes(photos.read(name))
    return folder / "dog.jpg"


def test_the_template_alone_carries_a_whole_run(execution):
    assert execution["status"] == "Succeeded"
    assert {step["name"] for step in execution["steps"]} >= {"Register", "Deploy"}


@pytest.fixture(scope="module")
def roles(execution, server) -> dict:
    """What the page of used statements said after the run: role -> its statements, and what was refused."""
    return json.loads(statements_page(server))


def allowing(roles: dict) -> list[tuple[str, dict]]:
    """(role's name, statement) of every statement that allows something."""
    return [
        (role.rpartition("/")[2], statement)
        for role, entries in roles["roles"].items()
        for statement in entries
        if statement["effect"] == "Allow"
    ]


def is_excused(role: str, statement: dict) -> bool:
    return f"{role}/{statement['sid']}" in NOT_NEEDED_HERE or f"{role}/*" in NOT_NEEDED_HERE


def test_the_shipped_roles_allow_all_that_a_run_needs_and_no_statement_is_superfluous(roles):
    assert roles["refused"] == []
    needed = [entry for entry in allowing(roles) if entry[1]["only_here"]]
    print(f"{len(allowing(roles))} statements, {len(needed)} needed by this run")
    idle = [entry for entry in allowing(roles) if not entry[1]["only_here"]]
    assert [f"{role}/{statement['sid']}" for role, statement in idle if not is_excused(role, statement)] == []


@contextmanager
def without(iam, role: str, statement: dict) -> Iterator[None]:
    """The role with one statement taken away."""
    name = statement["policy"]
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    rest = [entry for entry in document["Statement"] if entry["Sid"] != statement["sid"]]
    assert len(rest) == len(document["Statement"]) - 1
    if rest:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps({**document, "Statement": rest}))
    else:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    yield
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def test_taking_away_any_statement_denies_a_call_that_the_run_made(roles, client):
    iam = client("iam")
    for role, statement in allowing(roles):
        if not statement["only_here"]:
            continue
        call = statement["only_here"][0]
        with without(iam, role, statement):
            decided = iam.simulate_principal_policy(
                PolicySourceArn=f"arn:aws:iam::123456789012:role/{role}",
                ActionNames=[call["action"]],
                ResourceArns=[call["resource"]],
            )["EvaluationResults"][0]["EvalDecision"]
        assert decided == "implicitDeny", f"{role}/{statement['sid']}: {call}"


def test_a_run_without_the_right_to_pass_the_job_role_fails_and_names_it(roles, execution, client, state_dir):
    (entry,) = [s for role, s in allowing(roles) if (role, s["sid"]) == ("pawline-pipeline", "PassJobRoles")]
    with without(client("iam"), "pawline-pipeline", entry):
        done = pawline(state_dir, "start", "--follow", *FAST, "MaxBrokenFraction=0.5", *execution["where"])
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "iam:PassRole" in said
    assert "pawline-job" in said
    assert "pawline-pipeline" in said


def test_doctor_finds_the_account_healthy(execution, state_dir):
    assert pawline(state_dir, "doctor", "--json").returncode == 0


def test_the_cost_of_the_run_is_told(execution, state_dir):
    done = pawline(state_dir, "cost", "latest", "--json")
    assert done.returncode == 0, done.stderr


def test_destroy_leaves_what_was_there_before(execution, state_dir, empty):
    done = pawline(state_dir, "destroy", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert last_json(done)["deleted"]
    before, before_objects = empty
    assert documents(state_dir) == before
    assert objects(state_dir) == before_objects
