"""Packages that the final training job and Evaluate need, and that SageMaker's training images do not bring.

A requirements.txt beside train.py would be installed for every job: each tuning trial would wait for it.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping

from breeds.base import container

SECONDS = 240  # for pip; without a way to a package index it gives up long before

# The same versions as endpoint/requirements.txt and requirements.lock.
DECODING = {"simplejpeg": "simplejpeg==1.9.0"}
RUNNING = {"openvino": "openvino==2026.4.1"}
OPTIMISING = {**RUNNING, "nncf": "nncf==3.4.0"}
# Without its dependencies, which do not fit the images' protobuf: smdebug_shim makes it run with theirs.
DEBUGGING = {"smdebug": "smdebug==1.0.34"}


def ensure(requirements: Mapping[str, str], *, with_dependencies: bool = True) -> str | None:
    """Make the modules (name -> requirement) importable; returns None, or why they are not.

    Installs only inside a SageMaker job's container: anywhere else the environment is the user's own.
    """
    missing = [name for name in requirements if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    if not in_a_job():
        return f"{' and '.join(missing)} not installed"
    wanted = [requirements[name] for name in missing]
    print(f"installing {' '.join(wanted)}", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    pip += [] if with_dependencies else ["--no-deps"]
    try:
        subprocess.run(
            [*pip, "--retries", "1", "--timeout", "15", *wanted],
            check=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return f"pip install {' '.join(wanted)} took more than {SECONDS} s"
    except (subprocess.CalledProcessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or ["no reason given"]
        return f"pip install {' '.join(wanted)} failed: {said[-1][:200]}"
    importlib.invalidate_caches()
    return next((f"{name} is installed and not found" for name in missing if not importlib.util.find_spec(name)), None)


def in_a_job() -> bool:
    """Whether this is a training container, by its toolkit's variable, or a processing one, by its configuration."""
    processing = container.base_dir() / "config" / "processingjobconfig.json"
    return "TRAINING_JOB_NAME" in os.environ or processing.is_file()
