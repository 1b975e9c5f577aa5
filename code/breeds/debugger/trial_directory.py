"""The directory of saved tensors: whose they are, whether the training came to its end, which steps are there."""

import json
import os
from pathlib import Path
from typing import Any

STATE_FILE = "training.json"
SMDEBUG_END_MARK = "training_job_end.ts"


def training_job() -> str | None:
    """The name of this process's training job; None outside of one."""
    return os.environ.get("TRAINING_JOB_NAME")


def write_state(directory: Path, *, finished: bool) -> None:
    """This job and whether its training came to its end, as training.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / STATE_FILE).write_text(json.dumps({"training_job": training_job(), "finished": finished}))


def read_state(directory: Path) -> dict[str, Any]:
    """{"training_job": name or None, "finished": bool} as the hook left it; smdebug's own mark where it did not."""
    try:
        return dict(json.loads((directory / STATE_FILE).read_text()))
    except FileNotFoundError:
        return {"training_job": None, "finished": (directory / SMDEBUG_END_MARK).exists()}
    except ValueError:  # it was killed while it wrote this
        return {"training_job": None, "finished": False}


def reopen(directory: Path) -> None:
    """Allow another attempt where a training failed: smdebug refuses a directory in which a training has ended."""
    if not read_state(directory)["finished"]:
        (directory / SMDEBUG_END_MARK).unlink(missing_ok=True)


def has_steps(directory: Path) -> bool:
    """Whether any complete step is there."""
    return any(directory.glob("index/*/*.json"))


def forget_from(directory: Path, worker: str, step: int) -> None:
    """Remove this step and later ones of a worker: an earlier training left them, and they are still to come."""
    for path in directory.glob(f"index/*/*_{worker}.json"):
        if int(path.name.partition("_")[0]) >= step:
            path.unlink()
