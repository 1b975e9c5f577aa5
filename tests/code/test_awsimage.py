"""The hook and the rules with numpy 2.4 and protobuf 6, which AWS's training images have and smdebug does not expect.

`make test-awsimage` makes the environment.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.waiting import HANG

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "awsimage" / "bin" / "python"

pytestmark = pytest.mark.awsimage


def run(*command: object, **env: str) -> str:
    # None of the variables that smdebug would have to be helped by: the code sets what it needs.
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH",) and "SMDEBUG" not in name}
    kept.pop("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", None)
    environment = {**kept, "OMP_NUM_THREADS": "1", **env}
    whole = [str(PYTHON), *map(str, command)]
    done = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_features, hook_configuration) -> tuple[str, Path]:
    """What a training printed, and the tensors it saved."""
    assert PYTHON.exists(), "run `make test-awsimage`: it makes the environment"
    root = tmp_path_factory.mktemp("awsimage")
    data = make_features(root / "f", num_train=600, num_valid=200, dim=64, separation=0.6)
    configuration = hook_configuration(root, root / "tensors")
    arguments = ("--features", data, "--model-dir", root / "m", "--hidden-width", 128)
    printed = run(ROOT / "code" / "train.py", *arguments, SMDEBUG_CONFIG_FILE_PATH=str(configuration))
    return printed, root / "tensors"


def test_the_environment_has_the_versions_of_the_image():
    script = (
        "import numpy as n, google.protobuf as p; print(n.__version__, p.__version__, hasattr(n.ndarray, 'tostring'))"
    )
    numpy, protobuf, has_tostring = run("-c", script).split()
    assert numpy.startswith("2.4.") and protobuf.startswith("6.") and has_tostring == "False"


def test_the_hook_saves_and_the_rules_judge(trained, tmp_path):
    printed, tensors = trained
    assert "ebugger hook" not in printed, printed
    run(ROOT / "code" / "debug.py", "--tensors", tensors, "--output", tmp_path)
    verdict = json.loads((tmp_path / "debug.json").read_text())
    assert verdict["summary"] == "no rule fired"
    assert len(verdict["rules"]) == 12


def test_what_it_saved_reads_the_same_here(trained):
    from breeds.debugger import rules
    from breeds.debugger.rules.saved import evaluations, loss_phases

    trial = rules.open_trial(trained[1])
    (phases,) = loss_phases(trial).values()
    assert phases[0].mean_loss > phases[-2].mean_loss > 0
    assert evaluations(trial)[-1].accuracy > 0.5


def test_smdebugs_own_writer_works_too(tmp_path):
    """TensorBoard files and tensors of scripts that use smdebug's hook go through it."""
    run(
        "-c",
        "import sys; sys.path.insert(0, 'code')\n"
        "from breeds.debugger import smdebug_shim; smdebug_shim.prepare()\n"
        "import numpy as np\n"
        "from smdebug.core.writer import FileWriter\n"
        "from smdebug.core.modes import ModeKeys\n"
        f"writer = FileWriter({str(tmp_path)!r}, worker='worker_0', step=3)\n"
        "writer.write_tensor(np.arange(4.0), 'x', mode=ModeKeys.TRAIN, mode_step=3)\n"
        "writer.close()\n",
    )
    assert list(tmp_path.glob("events/*/*.tfevents")) and list(tmp_path.glob("index/*/*.json"))
