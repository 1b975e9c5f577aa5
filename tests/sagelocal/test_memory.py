"""A job's or function's memory: what it may use, and what is said when it used more."""

import json
import os
import sys

import pytest

from sagelocal.runtime import memory, process
from sagelocal.runtime.launch import ProcessSpec
from sagelocal.runtime.memory import GIB, Groups, Limit
from tests.sagelocal.lambda_functions import packed
from tests.waiting import HANG

MIB = 1 << 20
GREEDY = "data = bytearray(int(__import__('sys').argv[1]) << 20); print(len(data) >> 20)"
groups = pytest.mark.skipif(memory.find().folder is None, reason="nobody here may make control groups")


@pytest.fixture
def run(context, tmp_path):
    """run(MiB, memory limit in bytes) -> (the process, which has ended; its lines)."""
    tree = tmp_path / "job" / "ml"
    tree.mkdir(parents=True)

    def start(size: int, limit: int | None):
        lines: list[str] = []
        argv = [sys.executable, "-c", GREEDY, str(size)]
        spec = ProcessSpec(argv=argv, env={}, opt_ml=tree, on_line=lines.append, memory=limit)
        ended = process.start(context, spec)
        ended.wait(HANG)
        return ended, lines

    return start


@pytest.mark.parametrize(
    "instance_type, gib",
    [
        *[("ml.t3.medium", 4), ("ml.m5.large", 8), ("ml.m5.24xlarge", 384), ("ml.c5.xlarge", 8), ("ml.c4.2xlarge", 15)],
        *[("ml.r5.4xlarge", 128), ("ml.g4dn.xlarge", 16), ("ml.g5.12xlarge", 192), ("ml.g6e.xlarge", 32)],
        *[("ml.p2.xlarge", 61), ("ml.p3.16xlarge", 488), ("ml.p4d.24xlarge", 1152), ("ml.p5.48xlarge", 2048)],
        *[("ml.inf1.xlarge", 8), ("ml.inf2.24xlarge", 384), ("ml.trn1.32xlarge", 512), ("ml.m7i.2xlarge", 32)],
    ],
)
def test_an_instance_type_has_the_memory_that_aws_says(instance_type, gib):
    assert memory.of_instance(instance_type) == gib * GIB


@pytest.mark.parametrize("instance_type", [None, "", "local", "ml.z9.gigantic", "ml.unknown.large", "ml.m5"])
def test_an_instance_type_that_is_not_known_sets_no_limit(instance_type):
    assert memory.of_instance(instance_type) is None


def test_more_than_this_machine_has_is_no_limit():
    assert Groups(None, total=8 * GIB).limit(384 * GIB) == Limit()


@groups
def test_a_job_that_uses_more_than_it_may_is_killed_and_its_last_line_says_why(run):
    ended, lines = run(400, 100 * MIB)
    assert (ended.poll(), ended.out_of_memory) == (-9, True)
    assert lines[-1].startswith("OutOfMemory: it used more than the 0.0977 GiB it may.")


@groups
def test_a_job_that_stays_within_what_it_may_use_ends_well_and_leaves_no_group(run):
    ended, lines = run(50, 200 * MIB)
    assert (ended.poll(), ended.out_of_memory, lines) == (0, False, ["50"])
    assert memory.find().folder and not list(memory.find().folder.glob(f"sagelocal-{os.getpid()}-*"))


def test_where_nobody_may_make_groups_each_process_has_a_limit_of_its_own(run, context):
    context.parts[memory.groups] = Groups(None)
    assert run(50, 100 * MIB)[0].poll() == 0
    ended, lines = run(3000, 100 * MIB)
    assert ended.poll() == 1 and lines[-1] == "MemoryError"


@groups
def test_a_function_that_uses_more_than_its_memory_size_ends_as_out_of_memory(functions, create_function):
    code = "def handler(event, context):\n    return len(bytearray(event << 20))"
    name = create_function(packed({"app.py": code}), MemorySize=256)
    assert json.load(functions.invoke(FunctionName=name, Payload="10")["Payload"]) == 10 * MIB
    answer = functions.invoke(FunctionName=name, Payload="900")
    said = json.load(answer["Payload"])
    assert answer["FunctionError"] == "Unhandled" and said["errorType"] == "Runtime.OutOfMemory"
    assert said["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert json.load(functions.invoke(FunctionName=name, Payload="10")["Payload"]) == 10 * MIB
