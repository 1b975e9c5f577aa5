"""The functions as Lambda sees them: each folder on the path of its own modules, handlers loaded by path."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FUNCTIONS = HERE.parents[1] / "lambda"
sys.path[:0] = [str(HERE), *(str(FUNCTIONS / name) for name in ("deploy", "predict", "retrain"))]

from lambda_support import LambdaContext, load_handler, picture_bytes  # noqa: E402


@pytest.fixture
def context() -> LambdaContext:
    return LambdaContext()


@pytest.fixture
def deploy_handler():
    return load_handler("deploy")


@pytest.fixture
def predict_handler():
    return load_handler("predict")


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    return picture_bytes("JPEG")


@pytest.fixture(scope="session")
def png() -> bytes:
    return picture_bytes("PNG")
