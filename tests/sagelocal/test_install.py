"""sagelocal by itself: installed into an empty environment, it runs a pipeline for plain boto3."""

import os
import re
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.install, pytest.mark.timeout(1800)]

PROJECT = Path(__file__).parents[2] / "sagelocal"
LARGEST = 300 * 10**6  # bytes of site-packages

# What a stranger pastes: the example of the README.
(PIPELINE,) = re.findall(r"^```python\n(.*?)^```", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)

# Without a socket, as tests/sagelocal/conftest.py has it.
TUNING = """
from pathlib import Path
from sagelocal import services
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.store import Store

services.load_all()
config = {"Strategy": "Random", "ResourceLimits": {"MaxParallelTrainingJobs": 1}}
job = {"HyperParameterTuningJobName": "t", "HyperParameterTuningJobConfig": config}
try:
    Context(Path("state"), "", Store(Path("state/state.db"))).call("sagemaker", "CreateHyperParameterTuningJob", **job)
except AwsError as refused:
    print(refused.message)
"""


def run(command: list[str], folder: Path, **more: str) -> str:
    """What a command prints, in an environment that has nothing of this project's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAGELOCAL_", "PYTHON"))}
    done = subprocess.run(command, cwd=folder, env=kept | more, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment after `python -m pip install ./sagelocal`."""
    folder = tmp_path_factory.mktemp("install")
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    run([str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "./sagelocal"], PROJECT.parent)
    return folder / "venv"


def test_it_installs_small_and_without_torch_or_the_sagemaker_sdk(environment: Path):
    (packages,) = environment.glob("lib/python*/site-packages")
    size = sum(path.lstat().st_size for path in packages.rglob("*"))
    print(f"\nsite-packages: {size / 10**6:.0f} MB")
    assert size < LARGEST
    assert not [name for name in ("torch", "sagemaker", "pipeline", "steps") if (packages / name).exists()]
    assert (packages / "sagelocal").is_dir()


def test_a_pipeline_of_plain_boto3_succeeds_and_every_command_runs_as_it_is_printed(environment: Path, tmp_path: Path):
    (tmp_path / "mine.py").write_text(PIPELINE)
    path = f"{environment / 'bin'}:{os.environ['PATH']}"

    def shell(line: str) -> str:
        return run(["sh", "-ec", line], tmp_path, PATH=path)

    began = time.monotonic()
    try:
        point = shell("sagelocal up").splitlines()[-1].partition(": ")[2]
        said = shell(f"{point}\npython mine.py")
        print(f"from sagelocal up to Succeeded: {time.monotonic() - began:.1f} s")
        assert said.split() == ["Succeeded", "IT", "RUNS"]
        assert "AWS_ENDPOINT_URL=http://127.0.0.1:" in shell("sagelocal env")
        assert "Nothing runs on it." in shell("sagelocal status")
        assert "tuning jobs are refused" in shell("sagelocal doctor")
    finally:
        stopped = shell("sagelocal down")
    assert stopped.startswith("Stopped")


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), "./sagelocal"]
    run(build, PROJECT.parent)
    (wheel,) = tmp_path.glob("sagelocal-*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    packed = {path.relative_to(PROJECT.parent).as_posix() for path in PROJECT.rglob("*.py")}
    assert sorted(names) == sorted({*packed, "sagelocal/runtime/images.toml", "sagelocal/py.typed"})
    assert not [name for name in names if "test" in name]


def test_without_optuna_a_tuning_job_is_refused_with_the_way_out(environment: Path, tmp_path: Path):
    (tmp_path / "tune.py").write_text(TUNING)
    assert "pip install 'sagelocal[tuning]'" in run([str(environment / "bin/python"), "tune.py"], tmp_path)
