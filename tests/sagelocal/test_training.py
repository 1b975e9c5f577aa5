"""Training jobs keep the container's contract and the training toolkit's."""

import io
import json
import tarfile

import pytest

from benchmarks.archives import tar_gz
from sagelocal.core.context import Context
from sagelocal.core.errors import ResourceInUse, ResourceNotFound, ValidationException
from sagelocal.runtime import checkpoints, isolation, process, sandbox
from sagelocal.services.logs import streams as logs
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.jobs import toolkit, training
from tests.waiting import HANG, until

GROUP = "/aws/sagemaker/TrainingJobs"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"


@pytest.fixture
def bucket(context: Context) -> str:
    objects.create_bucket(context, "bucket")
    return "s3://bucket"


@pytest.fixture
def run(context: Context, bucket: str):
    """run(name, script, …) -> the job's description when it has ended; the script runs in script mode."""

    def create(name: str, script: str, hyperparameters: dict | None = None, **more) -> dict:
        objects.write_bytes(context, f"{bucket}/code/{name}.tar.gz", tar_gz({"go.py": script}))
        mode = {"sagemaker_program": "go.py", "sagemaker_submit_directory": f"{bucket}/code/{name}.tar.gz"}
        request = {
            "TrainingJobName": name,
            "RoleArn": "arn:aws:iam::123456789012:role/job",
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": more.pop("metrics", []),
            },
            "HyperParameters": {**mode, **(hyperparameters or {})},
            "OutputDataConfig": {"S3OutputPath": f"{bucket}/out/"},
            "ResourceConfig": {
                "InstanceCount": more.pop("instances", 1),
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": more.pop("seconds", 3600)},
        }
        context.call("sagemaker", "CreateTrainingJob", **{**request, **more})
        return ended(context, name)

    return create


def ended(context: Context, name: str) -> dict:
    return context.store.wait(
        "training-job", name, lambda job: job["TrainingJobStatus"] not in ("InProgress", "Stopping"), HANG
    )


def channel(name: str, uri: str, distribution: str = "FullyReplicated") -> dict:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": distribution}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def lines(context: Context, job: str) -> list[str]:
    streams = logs.streams(context, GROUP, f"{job}/")
    return [line for stream in streams for line in logs.tail(context, GROUP, stream, 1000)]


def members(context: Context, uri: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(objects.read_bytes(context, uri))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


CONTRACT = """
import json, os, sys
base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
config = {name[:-5]: json.load(open(f"{base}/input/config/{name}")) for name in os.listdir(f"{base}/input/config")}
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "config": config,
                  "env": {k: v for k, v in os.environ.items() if k.startswith(("SM_", "TRAINING_"))},
                  "train": sorted(os.listdir(os.environ["SM_CHANNEL_TRAIN"]))}))
open(os.environ["SM_MODEL_DIR"] + "/weights", "w").write("w")
open(os.environ["SM_OUTPUT_DATA_DIR"] + "/plot", "w").write("p")
"""


def test_script_mode_gives_arguments_variables_and_files_as_the_toolkit_does(context, bucket, run):
    objects.write_bytes(context, f"{bucket}/data/train/x", b"1")
    given = {"learning-rate": "0.1", "layers": "[1, 2]", "kind": '"fast"', "name": "plain", "_tuning_x": "1"}
    job = run("contract", CONTRACT, given, InputDataConfig=[channel("train", f"{bucket}/data/train/")])
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    seen = json.loads(lines(context, "contract")[0])
    assert seen["argv"] == [
        *["--kind", "fast", "--layers", "[1, 2]", "--learning-rate", "0.1", "--name", "plain"],
    ]
    assert seen["cwd"] == process.shown_at(context.state_dir / "x") + "/code" or seen["cwd"].endswith("ml/code")
    assert seen["train"] == ["x"]
    env = seen["env"]
    assert env["SM_CHANNELS"] == '["train"]' and env["SM_HOSTS"] == '["algo-1"]' and env["SM_CURRENT_HOST"] == "algo-1"
    assert json.loads(env["SM_HPS"]) == {"learning-rate": 0.1, "layers": [1, 2], "kind": "fast", "name": "plain"}
    assert env["SM_HP_LEARNING-RATE"] == "0.1" and env["SM_HP_KIND"] == "fast"
    assert json.loads(env["SM_USER_ARGS"]) == seen["argv"]
    assert env["SM_NUM_GPUS"] == str(toolkit.num_gpus()) and env["SM_MODULE_NAME"] == "go"
    assert env["TRAINING_JOB_NAME"] == "contract"
    assert json.loads(env["SM_TRAINING_ENV"])["hyperparameters"]["name"] == "plain"
    assert seen["config"]["hyperparameters"]["learning-rate"] == "0.1"
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1"]
    assert seen["config"]["inputdataconfig"]["train"]["S3DistributionType"] == "FullyReplicated"


def test_the_model_and_the_output_data_are_stored_as_archives(context, bucket, run):
    objects.write_bytes(context, f"{bucket}/t/x", b"1")
    job = run("model", CONTRACT, InputDataConfig=[channel("train", f"{bucket}/t")])
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"{bucket}/out/model/output/model.tar.gz"
    assert members(context, f"{bucket}/out/model/output/model.tar.gz") == {"weights": b"w"}
    assert members(context, f"{bucket}/out/model/output/output.tar.gz") == {"plot": b"p"}
    statuses = [item["Status"] for item in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] >= 1


def test_the_contract_holds_where_namespaces_are_not_possible(context, bucket, run, monkeypatch):
    monkeypatch.setattr(isolation, "mode", lambda: sandbox.NONE)
    objects.write_bytes(context, f"{bucket}/t/x", b"1")
    job = run("rewritten", CONTRACT, InputDataConfig=[channel("train", f"{bucket}/t")])
    assert job["TrainingJobStatus"] == "Completed", job
    seen = json.loads(lines(context, "rewritten")[0])
    assert seen["cwd"] == seen["env"]["SM_MODEL_DIR"].removesuffix("model") + "code" != "/opt/ml/code"


def test_metric_definitions_read_the_log(run):
    job = run(
        "metrics",
        "print('loss=1.5 accuracy=0.5'); print('loss=0.25;'); print('loss=nan')",
        metrics=[{"Name": "loss", "Regex": "loss=([0-9.a-z]+)"}, {"Name": "acc", "Regex": "accuracy=(.*)"}],
    )
    assert {item["MetricName"]: item["Value"] for item in job["FinalMetricDataList"]} == {"loss": 0.25, "acc": 0.5}


def test_a_job_goes_on_without_a_metric_that_takes_too_long(context, run):
    script = "print('loss=' + 'a' * 60 + '!'); print('loss=0.5;'); print('loss=1;' * 9000)"
    regexes = {
        "ended": r"loss=(?=((a+)+)$)",
        "linear": r"loss=((a+)+)$",
        "long": r".*loss=(.*?);.*x",
        "loss": r"(0\.\d)",
    }
    job = run("redos", script, metrics=[{"Name": name, "Regex": regex} for name, regex in regexes.items()])
    assert job["TrainingJobStatus"] == "Completed"
    assert {item["MetricName"]: item["Value"] for item in job["FinalMetricDataList"]} == {"loss": 0.5}
    assert [line for line in lines(context, "redos") if "Metric ended is off" in line]


def test_a_failure_file_is_the_reason_and_no_model_is_left(context, bucket, run):
    script = """
import os, sys
open(os.environ["SM_MODEL_DIR"] + "/half", "w").write("h")
open("/opt/ml/output/failure", "w").write("ValueError: only one class")
sys.exit(1)
"""
    job = run("failing", script)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: ValueError: only one class, exit code: 1"
    assert objects.keys(context, f"{bucket}/out/failing") == []


def test_a_script_that_ignores_sigterm_is_killed_after_its_time(context, run, monkeypatch):
    monkeypatch.setattr(training, "GRACE_SECONDS", 0.3)
    script = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.environ["SM_MODEL_DIR"] + "/so-far", "w").write("s")
time.sleep(3600)
"""
    job = run("slow", script, seconds=5)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert members(context, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"so-far": b"s"}


def test_stop_ends_a_running_job_and_keeps_what_it_saved(context, run):
    def stop():
        until(lambda: lines(context, "stopped"))
        context.call("sagemaker", "StopTrainingJob", TrainingJobName="stopped")

    context.spawn("stop", stop)
    script = "import time; open('/opt/ml/model/epoch-1', 'w').close(); print('started', flush=True); time.sleep(3600)"
    job = run("stopped", script)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert list(members(context, job["ModelArtifacts"]["S3ModelArtifacts"])) == ["epoch-1"]


def test_two_hosts_under_torchrun_reduce_over_loopback(context, run):
    script = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
print(os.environ["SM_CURRENT_HOST"], dist.get_rank(), dist.get_world_size(), total.item())
dist.destroy_process_group()
"""
    job = run("distributed", script, {"sagemaker_torch_distributed_enabled": "true"}, instances=2)
    assert job["TrainingJobStatus"] == "Completed", job
    assert sorted(lines(context, "distributed")) == ["algo-1 0 2 3.0", "algo-2 1 2 3.0"]


def test_two_hosts_without_a_launcher_run_a_copy_each_on_their_share(context, bucket, run):
    for name in "abc":
        objects.write_bytes(context, f"{bucket}/d/{name}", b"x")
    script = """
import os
print(os.environ["SM_CURRENT_HOST"], sorted(os.listdir(os.environ["SM_CHANNEL_D"])), os.environ["OMP_NUM_THREADS"])
host = os.environ["SM_CURRENT_HOST"]
for name in (host, "shared"): open("/opt/ml/model/" + name, "w").write(host)
"""
    job = run("copies", script, instances=2, InputDataConfig=[channel("d", f"{bucket}/d", "ShardedByS3Key")])
    assert [line.partition("] ")[0] for line in sorted(lines(context, "copies"))] == ["algo-1 ['a', 'c'", "algo-2 ['b'"]
    kept = members(context, job["ModelArtifacts"]["S3ModelArtifacts"])
    assert kept == {"algo-1": b"algo-1", "algo-2": b"algo-2", "shared": b"algo-1"}


def test_checkpoints_come_from_s3_and_go_there_while_the_job_runs(context, bucket, run, monkeypatch):
    monkeypatch.setattr(checkpoints, "SYNC_SECONDS", 0.05)
    monkeypatch.setattr(checkpoints, "SETTLED_SECONDS", 0.0)
    objects.write_bytes(context, f"{bucket}/cp/epoch-1", b"1")
    script = """
import os, time
print(os.listdir("/opt/ml/checkpoints"))
open("/opt/ml/checkpoints/epoch-1", "w").write("changed")
open("/opt/ml/checkpoints/epoch-2", "w").write("2")
while not os.path.exists("/opt/ml/model/seen"): time.sleep(0.02)
raise SystemExit("cut off")
"""
    directory = context.state_dir / "jobs" / "training" / "resume" / "algo-1" / "ml"

    def look():
        until(lambda: objects.exists(context, f"{bucket}/cp/epoch-2"))
        (directory / "model" / "seen").touch()

    context.spawn("look", look)
    job = run("resume", script, CheckpointConfig={"S3Uri": f"{bucket}/cp"})
    assert job["FailureReason"] == "AlgorithmError: cut off, exit code: 1"
    assert lines(context, "resume")[0] == "['epoch-1']"
    assert objects.read_bytes(context, f"{bucket}/cp/epoch-1") == b"changed"
    assert objects.read_bytes(context, f"{bucket}/cp/epoch-2") == b"2"


def test_saved_tensors_are_uploaded_and_the_hook_finds_its_configuration(context, bucket, run):
    script = """
import json, os
config = json.load(open(os.environ["SMDEBUG_CONFIG_FILE_PATH"]))
os.makedirs(config["LocalPath"] + "/events")
open(config["LocalPath"] + "/events/0", "w").write(config["CollectionConfigurations"][0]["CollectionName"])
"""
    hook = {"S3OutputPath": f"{bucket}/debug", "CollectionConfigurations": [{"CollectionName": "losses"}]}
    run("tensors", script, DebugHookConfig=hook)
    assert objects.read_bytes(context, f"{bucket}/debug/tensors/debug-output/events/0") == b"losses"


def test_an_archive_that_would_write_elsewhere_fails_the_job(context, bucket, run):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO(b""))
    objects.write_bytes(context, f"{bucket}/evil.tar.gz", archive.getvalue())
    job = run("evil", "", {"sagemaker_submit_directory": f"{bucket}/evil.tar.gz"})
    assert job["FailureReason"].startswith("ClientError: sagemaker_submit_directory")
    assert not list(context.state_dir.rglob("escaped"))


def test_an_entry_point_of_its_own_runs_instead_of_the_toolkit(context, run):
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["/bin/sh", "-c"],
        "ContainerArguments": ["cat /opt/ml/input/config/hyperparameters.json"],
    }
    run("own", "", {"a": "1"}, AlgorithmSpecification=algorithm)
    assert json.loads(lines(context, "own")[0])["a"] == "1"


def test_a_model_may_be_stored_uncompressed(context, bucket, run):
    output = {"S3OutputPath": f"{bucket}/plain", "CompressionType": "NONE"}
    job = run("plain", "open('/opt/ml/model/weights', 'w').write('w')", OutputDataConfig=output)
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"{bucket}/plain/plain/output/model/"
    assert objects.read_bytes(context, f"{bucket}/plain/plain/output/model/weights") == b"w"


def test_what_cannot_run_is_refused_at_once(context, bucket, run):
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
    with pytest.raises(ValidationException, match="InputMode: Pipe is not run"):
        run("pipe", "", InputDataConfig=[{**channel("train", f"{bucket}/x"), "InputMode": "Pipe"}])
    with pytest.raises(ValidationException, match="needs a group around the value"):
        run("metric", "", metrics=[{"Name": "loss", "Regex": "loss=.*"}])
    with pytest.raises(ValidationException, match="Nothing says what the image"):
        run("nothing", "", HyperParameters={}, AlgorithmSpecification=algorithm)
    with pytest.raises(ValidationException, match='pattern = "acme/cobol:1"'):
        run("image", "", AlgorithmSpecification={**algorithm, "TrainingImage": "registry.example/acme/cobol:1"})
    assert context.store.list("training-job") == []


def test_names_are_unique_and_unknown_ones_are_not_found(context, run):
    run("same", "")
    with pytest.raises(ResourceInUse, match="same"):
        run("same", "")
    with pytest.raises(ResourceNotFound):
        context.call("sagemaker", "DescribeTrainingJob", TrainingJobName="other")
    listed = context.call("sagemaker", "ListTrainingJobs", NameContains="sam")["TrainingJobSummaries"]
    assert [(job["TrainingJobName"], job["TrainingJobStatus"]) for job in listed] == [("same", "Completed")]
