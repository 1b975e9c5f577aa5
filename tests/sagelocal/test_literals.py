"""Where namespaces are missing: jobs that name /opt/ml in their source are refused, and empty outputs are none."""

import pytest

from benchmarks.archives import tar_gz
from sagelocal.runtime import isolation, sandbox
from sagelocal.services.s3 import objects
from tests.waiting import ended

ROLE = "arn:aws:iam::123456789012:role/job"
READS = "print(open('/opt/ml/processing/input/code/run.py').read())"


@pytest.fixture(autouse=True)
def no_namespaces(monkeypatch):
    monkeypatch.setattr(isolation, "mode", lambda: sandbox.NONE)


@pytest.fixture
def process(context):
    """process(file name, source, more arguments) -> the described processing job, which has ended."""
    objects.create_bucket(context, "bucket")

    def run(name: str, source: str, *arguments: str, interpreter: str = "python3") -> dict:
        objects.write_bytes(context, f"s3://bucket/code/{name}", source.encode())
        at = "/opt/ml/processing/input/code"
        s3 = {"S3Uri": "s3://bucket/code/", "LocalPath": at, "S3DataType": "S3Prefix", "S3InputMode": "File"}
        out = {"S3Uri": "s3://bucket/out", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
        command = [interpreter, f"{at}/{name}", *arguments]
        context.call(
            "sagemaker",
            "CreateProcessingJob",
            ProcessingJobName="job",
            RoleArn=ROLE,
            AppSpecification={"ImageUri": "python:3.12", "ContainerEntrypoint": command},
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            ProcessingInputs=[{"InputName": "code", "S3Input": s3}],
            ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": out}]},
        )
        describe = lambda: context.call("sagemaker", "DescribeProcessingJob", ProcessingJobName="job")  # noqa: E731
        return ended(describe, "ProcessingJobStatus")

    return run


@pytest.mark.parametrize(
    "name, source, line",
    [
        ("run.py", READS, 1),
        ("run.py", "import pathlib\n\nOUT = pathlib.Path('/opt/ml/model')\n", 3),
        ("run.py", "import os\nprint(os.environ.get('NOT_SET', '/opt/ml/model'))\n", 2),
        ("run.sh", "set -e\nls /opt/ml/processing\n", 2),
    ],
)
def test_a_job_whose_source_names_a_path_below_opt_ml_is_refused_with_the_line_and_the_way_out(
    process, name, source, line
):
    job = process(name, source, interpreter="python3" if name.endswith(".py") else "/bin/sh")
    assert job["ProcessingJobStatus"] == "Failed"
    reason = job["FailureReason"]
    assert reason.startswith(f"ClientError: /opt/ml/processing/input/code/{name}, line {line}, names a path")
    assert "Take the path from an argument" in reason


@pytest.mark.parametrize(
    "source",
    [
        "import os, sys\nopen(os.path.join(sys.argv[1], 'x'), 'w').write('x')\n",
        '"""Writes to /opt/ml/processing/output,\nas AWS."""\nimport sys\nopen(sys.argv[1] + "/x", "w").write("x")\n',
        "import os, sys\n# not /opt/ml\nos.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml')\nopen(sys.argv[1] + '/x', 'w')"
        ".write('x')\n",
    ],
)
def test_a_job_that_takes_its_paths_from_arguments_and_variables_runs(process, source):
    assert process("run.py", source, "/opt/ml/processing/output")["ProcessingJobStatus"] == "Completed"


def test_modules_count_that_the_job_imports_and_no_others(process, context):
    objects.write_bytes(context, "s3://bucket/code/unused.py", READS.encode())
    source = "import sys\nopen(sys.argv[1] + '/x', 'w').write('x')\n"
    assert process("run.py", source, "/opt/ml/processing/output")["ProcessingJobStatus"] == "Completed"


def test_a_module_that_the_job_imports_is_looked_at_too(process, context):
    objects.write_bytes(context, "s3://bucket/code/lib/paths.py", b"MODEL = '/opt/ml/model'\n")
    job = process("run.py", "from lib import paths\n")
    assert "/opt/ml/processing/input/code/lib/paths.py, line 1" in job["FailureReason"]


def test_a_job_that_left_an_output_folder_empty_has_failed(process):
    job = process("run.py", "print('done')")
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: The output folder /opt/ml/processing/output stayed empty.")


def test_with_namespaces_an_empty_output_folder_is_fine_as_on_aws(process, monkeypatch):
    monkeypatch.undo()
    if isolation.mode() == sandbox.NONE:
        pytest.skip("this machine allows no namespaces")
    assert process("run.py", "print('done')")["ProcessingJobStatus"] == "Completed"


def test_a_training_script_that_names_its_model_folder_is_refused(context):
    source = "open('/opt/ml/model/weights', 'w').write('x')\n"
    objects.create_bucket(context, "bucket")
    objects.write_bytes(context, "s3://bucket/code.tar.gz", tar_gz({"train.py": source}))
    context.call(
        "sagemaker",
        "CreateTrainingJob",
        TrainingJobName="job",
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": "python", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://bucket/m"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        HyperParameters={
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "s3://bucket/code.tar.gz",
        },
    )
    job = ended(lambda: context.call("sagemaker", "DescribeTrainingJob", TrainingJobName="job"), "TrainingJobStatus")
    assert job["FailureReason"].startswith("ClientError: /opt/ml/code/train.py, line 1, names a path under /opt/ml")
