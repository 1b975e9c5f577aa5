"""Which way an image runs, and what is said of one that nobody knows."""

from pathlib import Path

import pytest

from sagelocal.core.context import Context
from sagelocal.core.errors import ValidationException
from sagelocal.runtime import images

ECR = "763104351884.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    "uri, use",
    [
        (f"{ECR}/pytorch-training:2.10.0-cpu-py312-ubuntu22.04-sagemaker", "training"),
        (f"{ECR}/pytorch:2.13-cpu-amzn2023-sagemaker", "training"),
        (f"{ECR}/pytorch:2.13-cpu-amzn2023-sagemaker", "processing"),
        (f"{ECR}/ray:serve-ml-sagemaker-cpu-v1.4", "serving"),
        (f"{ECR}/pytorch-inference:2.6.0-cpu-py312", "serving"),
        ("503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest", "rules"),
        ("python:3.12-slim", "processing"),
    ],
)
def test_the_images_that_pipelines_use_are_known(context: Context, uri, use):
    assert use in images.find(context, uri, use).runs


def test_an_unknown_image_is_refused_with_the_lines_that_would_map_it(context: Context):
    with pytest.raises(ValidationException) as refused:
        images.find(context, f"{ECR}/acme/fortran:9", "training")
    assert f"{ECR}/acme/fortran:9" in refused.value.message
    shown = refused.value.message.partition("images.toml:\n")[2]
    (context.state_dir / "images.toml").write_text(shown)
    assert images.find(context, f"{ECR}/acme/fortran:9", "training").toolkit


def test_a_file_named_by_the_environment_comes_before_all_others(context: Context, tmp_path, monkeypatch):
    own = tmp_path / "mine.toml"
    own.write_text('[[image]]\npattern = "pytorch:*"\nruns = ["training"]\ntrain = ["python3", "/opt/ml/mine.py"]\n')
    monkeypatch.setenv("SAGELOCAL_IMAGES", str(own))
    assert images.find(context, "pytorch:2", "training").train == ("python3", "/opt/ml/mine.py")


def test_nothing_is_preloaded_unless_a_file_asks_for_it(context: Context):
    assert images.preload(images.files(context.state_dir, [])) == []


def test_a_named_file_that_is_not_there_is_said(context: Context, tmp_path, monkeypatch):
    monkeypatch.setenv("SAGELOCAL_IMAGES", str(tmp_path / "gone.toml"))
    with pytest.raises(ValidationException, match="gone.toml cannot be read"):
        images.find(context, "pytorch:2", "training")


def test_an_evaluator_of_debugger_rules_is_a_program_that_is_there(context: Context):
    python, program = images.find(context, f"{ECR}/sagemaker-debugger-rules:latest", "rules").evaluate
    assert python == "python3" and Path(program).is_absolute() and Path(program).is_file()


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("[[image]", "is not valid TOML"),
        ('[[image]]\npattern = "x"\nruns = ["dancing"]', "runs out of processing, training, serving"),
        ('[[image]]\npattern = "x"\nruns = ["training"]\ncolour = 1', "unknown colour"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(context: Context, text, complaint):
    (context.state_dir / "images.toml").write_text(text)
    with pytest.raises(ValidationException, match=complaint) as refused:
        images.find(context, "pytorch:2", "training")
    assert "images.toml" in refused.value.message


def test_modules_to_preload_are_joined_each_once(context: Context, tmp_path):
    (context.state_dir / "images.toml").write_text('preload = ["scipy", "torch"]\n')
    other = tmp_path / "other.toml"
    other.write_text('preload = ["torch", "numpy"]\n')
    assert images.preload(images.files(context.state_dir, [str(other)])) == ["torch", "numpy", "scipy"]
