"""A job's own /opt/ml: by namespace, by user namespace, and by rewritten paths."""

import os
from pathlib import Path

import pytest

from sagelocal.core.context import Context
from sagelocal.runtime import data, isolation, process, sandbox
from sagelocal.runtime.launch import ProcessSpec
from sagelocal.services.s3 import objects
from tests.waiting import HANG


@pytest.fixture(params=[sandbox.ROOT, *sandbox.USER_MODES, sandbox.NONE])
def mode(request, monkeypatch) -> str:
    """Each way of showing /opt/ml that this machine allows."""
    if request.param == sandbox.ROOT and os.geteuid() != 0:
        pytest.skip("needs root")
    if request.param != sandbox.NONE and not isolation.works(request.param):
        pytest.skip(f"this machine does not allow namespaces of kind {request.param}")
    monkeypatch.setattr(isolation, "mode", lambda: request.param)
    return request.param


@pytest.fixture
def shell(context: Context, tmp_path: Path):
    """shell(command, read_only) -> (exit code, lines)"""
    tree = tmp_path / "job" / "ml"
    tree.mkdir(parents=True)

    def run(command: str, *read_only: str) -> tuple[int | None, list[str]]:
        lines: list[str] = []
        spec = ProcessSpec(
            argv=["/bin/sh", "-c", command],
            env=process.base_environment(context, tree.parent) | {"DATA": "/opt/ml/input"},
            opt_ml=tree,
            read_only=read_only,
            cwd="/opt/ml",
            on_line=lines.append,
        )
        return process.start(context, spec).wait(HANG), lines

    return run


def test_a_job_reads_and_writes_its_own_tree_under_opt_ml(mode, shell, tmp_path):
    (tmp_path / "job" / "ml" / "input").mkdir()
    (tmp_path / "job" / "ml" / "input" / "x").write_text("data\n")
    assert shell("cat $DATA/x && echo made > /opt/ml/made && cat made") == (0, ["data", "made"])
    assert (tmp_path / "job" / "ml" / "made").read_text() == "made\n"


def test_nothing_of_the_machine_changes_and_the_rest_of_opt_stays_visible(mode, shell):
    before = sorted(os.listdir("/opt"))
    code, lines = shell("ls -1 /opt")
    assert code == 0 and set(lines) - {"ml"} == set(before) - {"ml"}
    assert sorted(os.listdir("/opt")) == before


def test_a_job_that_writes_into_its_input_cannot_change_the_object(mode, shell, context, tmp_path):
    objects.create_bucket(context, "bucket")
    objects.write_bytes(context, "s3://bucket/in/x", b"precious")
    data.download(context, {"S3Uri": "s3://bucket/in/"}, [tmp_path / "job" / "ml" / "input"], "input")
    code, lines = shell("echo spoilt > /opt/ml/input/x", "/opt/ml/input")
    assert objects.read_bytes(context, "s3://bucket/in/x") == b"precious"
    if mode != sandbox.NONE:
        assert code != 0 and "Read-only file system" in lines[0]


def test_two_jobs_see_each_their_own_tree(context, tmp_path):
    seen: dict[str, list[str]] = {"a": [], "b": []}
    running = []
    for name, lines in seen.items():
        tree = tmp_path / name / "ml"
        tree.mkdir(parents=True)
        (tree / "name").write_text(name)
        argv = ["/bin/sh", "-c", "cat /opt/ml/name; sleep 0.2; cat /opt/ml/name"]
        spec = ProcessSpec(argv=argv, env={"PATH": "/bin:/usr/bin"}, opt_ml=tree, on_line=lines.append)
        running.append(process.start(context, spec))
    assert [started.wait(HANG) for started in running] == [0, 0]
    assert seen == {"a": ["aa"], "b": ["bb"]}


def test_a_tree_that_lies_below_opt_itself_is_shown_too(mode, context, tmp_path):
    """The state directory may be under /opt, which the namespace covers."""
    if mode == sandbox.NONE or not os.access("/opt", os.W_OK):
        pytest.skip("needs a namespace and the right to make a directory in /opt")
    import shutil
    import tempfile

    directory = Path(tempfile.mkdtemp(dir="/opt"))
    try:
        (directory / "ml").mkdir()
        (directory / "ml" / "x").write_text("here\n")
        lines: list[str] = []
        argv = ["/bin/cat", "/opt/ml/x"]
        spec = ProcessSpec(argv=argv, env={}, opt_ml=directory / "ml", on_line=lines.append)
        assert (process.start(context, spec).wait(HANG), lines) == (0, ["here"])
    finally:
        shutil.rmtree(directory)
