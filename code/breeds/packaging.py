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

from breeds.container import InputError
from breeds.metrics import EpochMetrics
from breeds.model import Classifier, Head

SERVING_CODE = ("serve.py", "requirements.txt")


def write_model(
    directory: Path,
    model: Classifier | Head,
    info: dict[str, Any],
    settings: Any,
    metrics: EpochMetrics,
    code: Path,
) -> None:
    """Write model.pth, model.json and, with a Classifier, the serving code found in the directory `code`.

    A Head alone is a tuning trial: it is never served, and the rest would only make it slower. `info` is features.json.
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
        "preprocessing": {name: info[name] for name in ("resize", "image_size", "mean", "std")},
        "precision": info["precision"],
        "weights_sha256": info.get("weights_sha256"),
        "head_only": isinstance(model, Head),
        "hyperparameters": asdict(settings),
        "metrics": metrics.as_json(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "trained_at": trained_at(),
    }
    (directory / "model.json").write_text(json.dumps(description, indent=1))
    if isinstance(model, Classifier):
        copy_serving_code(code, directory / "code")


def exportable(tensor: Tensor) -> Tensor:
    """On the CPU, and float32 if it is a floating-point tensor (batch norm also counts its batches)."""
    return (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()


def copy_serving_code(source: Path, target: Path) -> None:
    """Copy serve.py, requirements.txt and breeds/ next to the model, as they are now."""
    target.mkdir(parents=True, exist_ok=True)
    for name in SERVING_CODE:
        if not (source / name).is_file():
            raise InputError(f"{name} is missing beside train.py in {source}.", "Ship the whole code/ folder.")
        shutil.copyfile(source / name, target / name)
    shutil.copytree(
        source / "breeds", target / "breeds", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )


def trained_at() -> str:
    """Now in UTC, ISO 8601; the time SOURCE_DATE_EPOCH names where a reproducible archive is wanted."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")
