"""Jobs, functions, endpoints and pipelines act as the roles they were given."""

import io
import json
import uuid
import zipfile

import pytest

from benchmarks.archives import tar_gz
from tests.waiting import ended

ACCOUNT = "123456789012"
BUCKET = "arn:aws:s3:::iam-jobs"
LOGS = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/sagemaker/*"
PYTORCH = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"

READ = {"Sid": "Read", "Action": "s3:GetObject", "Resource": f"{BUCKET}/in/*"}
LIST = {
    "Sid": "List",
    "Action": "s3:ListBucket",
    "Resource": BUCKET,
    "Condition": {"StringLike": {"s3:prefix": "in/*"}},
}
WRITE = {"Sid": "Write", "Action": "s3:PutObject", "Resource": f"{BUCKET}/out/*"}
LOG = {
    "Sid": "Log",
    "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
    "Resource": LOGS,
}
METRICS = {"Sid": "Metrics", "Action": "cloudwatch:PutMetricData", "Resource": "*"}
LOG_IN = {"Sid": "LogIn", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
PULL = {
    "Sid": "Pull",
    "Action": ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
    "Resource": "arn:aws:ecr:us-east-1:763104351884:repository/pytorch",
}
JOB = (READ, LIST, WRITE, LOG, METRICS, LOG_IN, PULL)

COPY = "cp -r /opt/ml/processing/in/. /opt/ml/processing/out/"
ASK = """
import boto3
print(boto3.client("sts").get_caller_identity()["Arn"])
try:
    boto3.client("sagemaker").list_models()
except Exception as refused:
    print(refused)
"""


@pytest.fixture(scope="module", autouse=True)
def bucket(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="iam-jobs")
    s3.put_object(Bucket="iam-jobs", Key="in/a.txt", Body=b"a")
    s3.put_object(Bucket="iam-jobs", Key="in/ask.py", Body=ASK.encode())
    client("logs").create_log_group(logGroupName="/aws/sagemaker/ProcessingJobs")


@pytest.fixture
def role(client):
    """role(statement, …, service=…) -> the ARN of a new role that the service may assume."""

    def make(*statements: dict, service: str = "sagemaker.amazonaws.com") -> str:
        name = f"role-{uuid.uuid4().hex[:12]}"
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        allow(client, arn, *statements)
        return arn

    return make


def allow(client, arn: str, *statements: dict) -> None:
    if statements:
        full = [{"Effect": "Allow"} | statement for statement in statements]
        document = json.dumps({"Version": "2012-10-17", "Statement": full})
        client("iam").put_role_policy(RoleName=name_of(arn), PolicyName="own", PolicyDocument=document)


def name_of(arn: str) -> str:
    return arn.rpartition("/")[2]


@pytest.fixture
def process(client):
    """process(role, command, image) -> (the job's description at its end, its log)."""

    def run(role: str, command: str = COPY, image: str = "python:3.12") -> tuple[dict, list[str]]:
        name = f"job-{uuid.uuid4().hex[:12]}"
        client("sagemaker").create_processing_job(ProcessingJobName=name, **processing(role, command, image))
        describe = client("sagemaker").describe_processing_job
        job = ended(lambda: describe(ProcessingJobName=name), "ProcessingJobStatus")
        found = client("logs").filter_log_events(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
        )["events"]
        return job, [event["message"] for event in found]

    return run


def processing(role: str, command: str = COPY, image: str = "python:3.12") -> dict:
    source = {"S3Uri": "s3://iam-jobs/in/", "LocalPath": "/opt/ml/processing/in"}
    result = {"S3Uri": "s3://iam-jobs/out", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    return {
        "RoleArn": role,
        "AppSpecification": {"ImageUri": image, "ContainerEntrypoint": ["bash", "-c", command]},
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingInputs": [
            {"InputName": "in", "S3Input": {**source, "S3DataType": "S3Prefix", "S3InputMode": "File"}}
        ],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": result}]},
    }


def refusals(server, role: str) -> list[str]:
    found = json.loads(server.ask("GET", "/_sagelocal/iam/used"))["refused"]
    return [entry["action"] for entry in found if entry["role"] == name_of(role)]


def test_a_job_with_every_permission_it_needs_completes(role, process):
    job, lines = process(role(*JOB), f"{COPY}; echo done", PYTORCH)
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    assert lines == ["done"]


@pytest.mark.parametrize(
    ("missing", "action", "resource"),
    [
        (READ, "s3:GetObject", f"{BUCKET}/in/a.txt"),
        (LIST, "s3:ListBucket", BUCKET),
        (WRITE, "s3:PutObject", f"{BUCKET}/out/a.txt"),
        (LOG_IN, "ecr:GetAuthorizationToken", "*"),
        (PULL, "ecr:BatchCheckLayerAvailability", PULL["Resource"]),
    ],
    ids=lambda value: value["Sid"] if isinstance(value, dict) else None,
)
def test_a_job_without_one_of_them_fails_and_names_action_resource_and_role(role, process, missing, action, resource):
    arn = role(*(statement for statement in JOB if statement is not missing))
    job, _ = process(arn, image=PYTORCH)
    assert job["ProcessingJobStatus"] == "Failed"
    reason = job["FailureReason"]
    assert f"assumed-role/{name_of(arn)}/SageMaker is not authorized to perform: {action} on resource: " in reason
    assert resource in reason


def test_a_job_that_may_not_write_logs_or_metrics_runs_without_them(server, role, process):
    arn = role(*(statement for statement in JOB if statement not in (LOG, METRICS)))
    job, lines = process(arn, f"{COPY}; echo done", PYTORCH)
    assert job["ProcessingJobStatus"] == "Completed"
    assert lines == []
    assert refusals(server, arn) == ["logs:CreateLogStream", "logs:PutLogEvents", "cloudwatch:PutMetricData"]


def test_taking_away_any_statement_makes_the_call_fail_that_was_allowed_only_there(client, server, role, process):
    arn = role(*JOB)
    process(arn, image=PYTORCH)
    statements = json.loads(server.ask("GET", "/_sagelocal/iam/used"))["roles"][name_of(arn)]
    assert [statement["sid"] for statement in statements if not statement["only_here"]] == []
    for statement in statements:
        without = role(*(kept for kept in JOB if kept["Sid"] != statement["sid"]))
        process(without, image=PYTORCH)
        assert refusals(server, without)[0] == statement["only_here"][0]["action"]


def test_the_code_of_a_job_acts_as_its_role(role, process):
    arn = role(*JOB)
    _, (who, refused) = process(arn, "python3 /opt/ml/processing/in/ask.py")
    assert who == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name_of(arn)}/SageMaker"
    assert "AccessDeniedException" in refused and "sagemaker:ListModels on resource: *" in refused


def test_a_role_that_was_never_created_may_do_everything(process):
    job, lines = process(f"arn:aws:iam::{ACCOUNT}:role/nobody", "python3 /opt/ml/processing/in/ask.py")
    assert job["ProcessingJobStatus"] == "Completed"
    assert lines == [f"arn:aws:sts::{ACCOUNT}:assumed-role/nobody/SageMaker"]


@pytest.mark.parametrize(
    ("statements", "action"),
    [((WRITE, LOG), "s3:GetObject"), ((READ, LOG), "s3:PutObject"), ((READ, WRITE, LOG), "")],
)
def test_a_training_job_reads_its_code_and_stores_its_model_as_its_role(client, role, statements, action):
    client("s3").put_object(Bucket="iam-jobs", Key="in/code.tar.gz", Body=tar_gz({"go.py": "print('trained')"}))
    name = f"training-{uuid.uuid4().hex[:12]}"
    client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=role(*statements),
        AlgorithmSpecification={"TrainingImage": "python", "TrainingInputMode": "File"},
        HyperParameters={
            "sagemaker_program": "go.py",
            "sagemaker_submit_directory": "s3://iam-jobs/in/code.tar.gz",
        },
        OutputDataConfig={"S3OutputPath": "s3://iam-jobs/out"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    job = ended(lambda: client("sagemaker").describe_training_job(TrainingJobName=name), "TrainingJobStatus")
    assert job["TrainingJobStatus"] == ("Failed" if action else "Completed"), job.get("FailureReason")
    assert action in job.get("FailureReason", "")


def test_a_function_acts_as_its_role_and_logs_as_it(client, server, role):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            "app.py",
            "import boto3\n"
            "def handler(event, context):\n"
            "    print('called')\n"
            "    try:\n"
            "        boto3.client('sagemaker').list_models()\n"
            "    except Exception as refused:\n"
            "        return str(refused)\n",
        )
    name = f"f-{uuid.uuid4().hex[:10]}"
    arn = role({"Action": "logs:*", "Resource": LOGS}, service="lambda.amazonaws.com")
    functions = client("lambda")
    functions.create_function(
        **{"FunctionName": name, "Role": arn, "Runtime": "python3.12", "Handler": "app.handler", "Timeout": 30},
        Code={"ZipFile": packed.getvalue()},
    )
    said = json.loads(functions.invoke(FunctionName=name)["Payload"].read())
    assert f"assumed-role/{name_of(arn)}/{name} is not authorized to perform: sagemaker:ListModels" in said
    assert "logs:CreateLogStream" in refusals(server, arn)
    allow(client, arn, {"Action": ["sagemaker:ListModels"], "Resource": "*"})
    assert json.loads(functions.invoke(FunctionName=name)["Payload"].read()) is None
    functions.delete_function(FunctionName=name)


def test_an_endpoint_reads_its_model_as_the_models_role(client, role):
    client("s3").put_object(Bucket="iam-jobs", Key="models/m.tar.gz", Body=tar_gz({"m": "m"}))
    arn, name = role(LOG), f"m-{uuid.uuid4().hex[:10]}"
    sagemaker = client("sagemaker")
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
    data = {"Image": image, "ModelDataUrl": "s3://iam-jobs/models/m.tar.gz"}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=arn, PrimaryContainer=data)
    variant = {"VariantName": "A", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def reason_of(endpoint: str) -> str:
        sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)
        found = ended(lambda: sagemaker.describe_endpoint(EndpointName=endpoint), "EndpointStatus")
        sagemaker.delete_endpoint(EndpointName=endpoint)
        return found["FailureReason"]

    assert "ecr:GetAuthorizationToken" in reason_of(f"{name}-1")
    repository = "arn:aws:ecr:us-east-1:763104351884:repository/ray"
    pulls = {"Action": PULL["Action"], "Resource": repository}
    allow(client, arn, LOG, LOG_IN, pulls)
    assert f"role/{name_of(arn)}/SageMaker is not authorized to perform: s3:GetObject" in reason_of(f"{name}-2")


PIPELINE = (
    {
        "Action": ["sagemaker:CreateProcessingJob", "sagemaker:DescribeProcessingJob"],
        "Resource": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:processing-job/pipelines-*",
    },
    {"Action": "s3:GetObject", "Resource": f"{BUCKET}/out/*"},
)


@pytest.mark.parametrize(
    ("left_out", "action"),
    [
        ("", ""),
        ("create", "sagemaker:CreateProcessingJob"),
        ("pass", "iam:PassRole"),
        ("read", "s3:GetObject"),
        ("job", "s3:PutObject"),
    ],
)
def test_a_pipeline_acts_as_its_role_and_its_jobs_as_theirs(client, role, left_out, action):
    job = role(*(statement for statement in JOB if (left_out, statement) != ("job", WRITE)))
    passing = {
        "Action": "iam:PassRole",
        "Resource": job,
        "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
    }
    create, read = PIPELINE
    statements = {"create": create, "read": read, "pass": passing}
    arn = role(*(statement for name, statement in statements.items() if name != left_out))
    arguments = processing(job, 'echo \'{"verdict": "good"}\' > /opt/ml/processing/out/report.json')
    report = {"PropertyFileName": "Report", "OutputName": "out", "FilePath": "report.json"}
    verdict = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Make.PropertyFiles.Report"}, "Path": "verdict"}}
    good = {"Type": "Equals", "LeftValue": verdict, "RightValue": "good"}
    gate = {"Conditions": [good], "IfSteps": [], "ElseSteps": []}
    steps = [
        {"Name": "Make", "Type": "Processing", "Arguments": arguments, "PropertyFiles": [report]},
        {"Name": "Gate", "Type": "Condition", "Arguments": gate},
    ]
    name = f"p-{uuid.uuid4().hex[:10]}"
    sagemaker = client("sagemaker")
    definition = json.dumps({"Version": "2020-12-01", "Steps": steps})
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition, RoleArn=arn)
    started = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    describe = sagemaker.describe_pipeline_execution
    execution = ended(lambda: describe(PipelineExecutionArn=started), "PipelineExecutionStatus")
    steps_ended = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=started)["PipelineExecutionSteps"]
    reasons = " ".join(step.get("FailureReason", "") for step in steps_ended)
    assert execution["PipelineExecutionStatus"] == ("Failed" if action else "Succeeded"), reasons
    if action:
        refused = name_of(job if left_out == "job" else arn)
        assert f"assumed-role/{refused}/SageMaker is not authorized to perform: {action}" in reasons
