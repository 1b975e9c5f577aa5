"""The notebook, unmodified, against an embedded SageMaker that is set up as an account is."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pipeline import infra
from pipeline.cloud import connect
from tests.waiting import HANG

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "start_execution.ipynb"


@pytest.fixture(scope="module")
def account(server):
    """What `pawline deploy-infra` leaves: bucket, functions, and the rule that deploys an approved model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        cloud = connect(aws=True)
        infra.ensure(cloud)
        yield cloud


def outputs(notebook: Any) -> dict[str, str]:
    """What each code cell showed: text, and the MIME types of the rest; by the cell's first line."""
    shown = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts = [each.get("text", "") + str(each.get("data", "")) for each in cell.outputs]
            shown[cell.source.splitlines()[0].partition("  #")[0]] = "\n".join(parts)
    return shown


def test_it_has_no_outputs_and_no_run_numbers():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    ran = [cell for cell in cells if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"])]
    assert not ran


def test_it_runs_from_upsert_to_prediction(account):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=HANG, resources={"metadata": {"path": NOTEBOOK.parent}})
    with tempfile.TemporaryDirectory() as sockets:
        kernel = client.create_kernel_manager()
        kernel.transport, kernel.ip = "ipc", f"{sockets}/kernel"  # on TCP anybody on this machine could listen in
        client.execute(env=dict(os.environ))
    shown = outputs(notebook)
    assert "pipeline pawline in us-east-1" in shown["import sys"]
    assert "Deploy     Succeeded" in shown["console.follow(cloud, arn)"]
    assert "image/png" in shown["import re"]
    assert "test:top1" in shown["execution.evaluation_metrics(cloud, arn)"]
    assert "serves arn:aws:sagemaker" in shown["import time"]
    assert "'breed'" in shown["from pipeline import predict"]
