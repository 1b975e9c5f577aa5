"""The server killed, or the disk refusing, at every operation that lasts of a small whole pipeline.

`make test` tries a few of the points, spread evenly. All of them, or FAULT_POINTS of those whose operation has
FAULT_MATCH in its name, and the table of what came:

    FAULT_POINTS=200 FAULT_MATCH=commit pytest -s -m slow tests/faults/test_faults.py
"""

import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.faults import injection, lab
from tests.faults.nursery import Order
from tests.waiting import is_gone, until

SAMPLE = 12
AT_ONCE = 2


def outcomes(nursery, base: Path, directory: Path, chosen: list[tuple[str, str]]) -> list[lab.Outcome]:
    def one(number: int) -> lab.Outcome:
        outcome = lab.try_point(nursery, base, directory / f"point{number}", *chosen[number])
        print(outcome, flush=True)
        return outcome

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(len(chosen))))


def test_a_server_that_is_killed_or_whose_disk_refuses_goes_on_by_itself_and_does_nothing_twice(
    nursery, prepared, tmp_path
):
    base, every = prepared
    found = outcomes(nursery, base, tmp_path, lab.spread(every, SAMPLE))
    assert {outcome.kind for outcome in found} >= {injection.KILL_BEFORE, injection.KILL_AFTER, "ENOSPC", "EIO"}
    assert [str(outcome) for outcome in found if outcome.wrong] == []
    assert [outcome.by_itself for outcome in found] == ["Succeeded"] * len(found)


@pytest.mark.parametrize("kind", [injection.KILL_BEFORE, injection.KILL_AFTER])
def test_a_server_that_is_killed_again_while_it_recovers_goes_on(nursery, prepared, tmp_path, kind):
    state_dir = tmp_path / "state"
    shutil.copytree(prepared[0], state_dir)
    account = lab.Account(nursery, state_dir, operation="commit training-job #4", kind=kind)
    account.armed.touch()
    arn = lab.begin(account.client)
    until(account.is_dead)
    recovering = nursery.start(Order(state_dir=str(state_dir), operation="commit pipeline-execution #1", kind=kind))
    until(lambda: is_gone(recovering))
    account.armed.unlink()
    account.start()
    assert lab.end_of(account.client, arn) == "Succeeded"
    account.stop()
    assert lab.problems(state_dir, arn) == []


def refused(call, **request) -> str:
    """The error code of a request that the disk does not let through, as AWS shapes it."""
    with pytest.raises(ClientError) as raised:
        call(**request)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    return raised.value.response["Error"]["Code"]


def test_a_server_answers_while_its_disk_is_full_and_its_execution_goes_on_afterwards(nursery, prepared, tmp_path):
    state_dir = tmp_path / "state"
    shutil.copytree(prepared[0], state_dir)
    account = lab.Account(nursery, state_dir, operation="commit pipeline-execution-step #3", kind="full")
    account.armed.touch()
    arn = lab.begin(account.client)
    full = Path(f"{state_dir}.full")
    until(full.exists)

    sagemaker, s3 = account.client("sagemaker"), account.client("s3")
    assert lab.status_of(account.client, arn) == "Executing"
    assert sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    assert s3.list_objects_v2(Bucket="lab")["KeyCount"]
    assert refused(sagemaker.start_pipeline_execution, PipelineName="lab") == "InternalFailure"
    assert refused(sagemaker.stop_pipeline_execution, PipelineExecutionArn=arn) == "InternalFailure"
    assert refused(s3.put_object, Bucket="lab", Key="new", Body=b"x") in ("InternalError", "InternalFailure")
    assert lab.status_of(account.client, arn) == "Executing"

    full.unlink()
    assert lab.end_of(account.client, arn) == "Succeeded"
    account.stop()
    assert lab.problems(state_dir, arn) == []


@pytest.mark.slow
@pytest.mark.timeout(12 * 3600)
def test_every_point_of_the_pipeline_ends_right(nursery, prepared, tmp_path):
    base, every = prepared
    every = [point for point in every if os.environ.get("FAULT_MATCH", "") in point[0]]
    found = outcomes(nursery, base, tmp_path, lab.spread(every, int(os.environ.get("FAULT_POINTS", len(every)))))
    by_kind = Counter((outcome.kind, outcome.by_itself.partition(":")[0], bool(outcome.wrong)) for outcome in found)
    for (kind, status, wrong), count in sorted(by_kind.items()):
        print(f"{kind:12} {status:10} {'wrong' if wrong else 'right':6} {count}")
    assert [str(outcome) for outcome in found if outcome.wrong] == []
    assert sum(outcome.by_itself == "Succeeded" for outcome in found) >= 0.99 * len(found)
