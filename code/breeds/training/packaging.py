"""What a training leaves in its model directory: docs/formats.md, model.tar.gz."""

import json
import os
import platform
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from breeds.base.container import InputError
from breeds.base.metrics import EpochMetrics
from breeds.model.classifier import Classifier, Head

# Name in the archive -> name beside train.py. There requirements.txt would be installed for every training job.
SERVING_CODE = {"serve.py": "serve.py", "requirements.txt": "endpoint/requirements.txt"}
# AWS's Ray Serve image looks for these two at the archive's root: see serve_ray.py.
RAY_APPLICATION = "serve_ray.py"
RAY_CONFIG = """\
applications:
  - name: breeds
    route_prefix: /
    import_path: serve_ray:app
"""


def write_model(
    directory: Path,
    model: Classifier | Head,
    info: dict[str, Any],
    settings: Any,
    metrics: EpochMetrics,
    code: Path,
    serving: dict[str, Any] | None = None,
    unknown: dict[str, Any] | None = None,
) -> None:
    """Write model.pth, model.json and, with a Classifier, the serving code found in the directory `code`.

    A Head alone is a tuning trial: it is never served, and the rest would only make it slower. `info` is features.json;
    `serving`: what `optimizing.optimise` chose; `unknown`: what `unknown.choose_threshold` did.
    """
    directory.mkdir(parents=True, exist_ok=True)
    prefix = "head." if isinstance(model, Head) else ""
    state = {prefix + name: exportable(tensor) for name, tensor in model.state_dict().items()}
    torch.save(state, directory / "model.pth")
    description = {
        "format": 1,
        "backbone": info["backbone"],
        "feature_dim": info["feature_dim"],
        "classes": info["classes"],
        "preprocessing": {
            "resize": info["view_size"],
            "image_size": info["view_size"],
            "mean": info["mean"],
            "std": info["std"],
        },
        "precision": info["precision"],
        "weights_sha256": info.get("weights_sha256"),
        "head_only": isinstance(model, Head),
        "hyperparameters": asdict(settings),
        "metrics": metrics.as_json(),
        "serving": serving,
        "unknown": unknown,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "trained_at": trained_at(),
    }
    (directory / "model.json").write_text(json.dumps(description, indent=1))
    if isinstance(model, Classifier):
        copy_serving_code(code, directory / "code")
        write_ray_application(code, directory)


def exportable(tensor: Tensor) -> Tensor:
    """On the CPU, and float32 if it is a floating-point tensor (batch norm also counts its batches)."""
    return (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()


def copy_serving_code(source: Path, target: Path) -> None:
    """Copy serve.py, requirements.txt, breeds/ and contract/ next to the model, as they are now."""
    target.mkdir(parents=True, exist_ok=True)
    for name, origin in SERVING_CODE.items():
        copy_file(source / origin, target / name)
    for name in ("breeds", "contract"):
        shutil.copytree(source / name, target / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def write_ray_application(source: Path, directory: Path) -> None:
    """What AWS's Ray Serve image runs the archive with: serve_ray.py and the config.yaml that names it."""
    copy_file(source / RAY_APPLICATION, directory / RAY_APPLICATION)
    (directory / "config.yaml").write_text(RAY_CONFIG)


def copy_file(source: Path, target: Path) -> None:
    """Raises InputError where it is missing."""
    if not source.is_file():
        raise InputError(f"{source.name} is missing: {source}.", "Ship the whole code/ folder.")
    shutil.copyfile(source, target)


def trained_at() -> str:
    """Now in UTC, ISO 8601; the time SOURCE_DATE_EPOCH names where a reproducible archive is wanted."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")
