"""Deploying the infrastructure to an embedded account, as `pawline deploy-infra` does, and removing all of it."""

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import destroy, functions, infra, infra_console
from pipeline.changeset import ChangeSet
from pipeline.cloud import Cloud
from pipeline.errors import UserError
from tests.signing import signed
from tests.waiting import until

PROCESSING = {
    "Name": "Prepare",
    "Type": "Processing",
    "Arguments": {
        "RoleArn": "arn:aws:iam::123456789012:role/pawline-job",
        "AppSpecification": {
            "ImageUri": "python",
            "ContainerEntrypoint": ["python3", "-c", "open('/opt/ml/processing/output/a.txt', 'w').write('a')"],
        },
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": "s3://pawline-123456789012-us-east-1/pawline/runs/out/features",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    },
}


@pytest.fixture
def state_dir(new_state_dir: Path) -> Path:
    return new_state_dir


@pytest.fixture
def cloud(new_account: Cloud) -> Cloud:
    return new_account


def yes(change_set: ChangeSet) -> bool:
    return True


def deploy(cloud: Cloud, confirm: Callable[[ChangeSet], bool] = yes, **given: str) -> str:
    return infra.deploy(cloud, given, confirm=confirm, watch=lambda event: None)


def status(cloud: Cloud) -> str:
    return cloud.client("cloudformation").describe_stacks(StackName="pawline")["Stacks"][0]["StackStatus"]


def documents(state_dir: Path) -> list[tuple[str, str]]:
    """(kind, name) of all that the account holds, but for sessions, which are IAM's, and the server's own processes."""
    database = sqlite3.connect(state_dir / "state.db")
    try:
        rows = database.execute(
            "SELECT kind, name FROM document WHERE kind NOT IN ('session', 'process') ORDER BY kind, name"
        )
        return rows.fetchall()
    finally:
        database.close()


def objects(state_dir: Path) -> list[str]:
    return sorted(
        str(path) for path in (state_dir / "s3").rglob("*") if not {".incoming", ".uploads"} & set(path.parts)
    )


def test_an_account_is_set_up_once_and_then_only_looked_at(cloud):
    assert infra.ensure(cloud) == "created"
    asked: list[str] = []
    cloud.session.events.register("before-call", lambda model, **_: asked.append(model.name))
    again = Cloud(cloud.settings, cloud.session)
    assert infra.ensure(again) == "current"
    assert len(asked) < 10 and not [name for name in asked if not name.startswith(("Describe", "Get", "List", "Head"))]
    predict = cloud.client("lambda").get_function(FunctionName="pawline-predict")
    assert predict["Configuration"]["Environment"]["Variables"] == {
        "ENDPOINT_NAME": "pawline",
        "CONFIDENCE_FLOOR": "0.3",
    }
    assert predict["Configuration"]["Role"] == cloud.settings.role("predict")
    assert predict["Concurrency"] == {"ReservedConcurrentExecutions": 3}
    assert cloud.client("iam").get_role(RoleName="pawline-job")["Role"]["Arn"] == cloud.settings.role("job")
    assert cloud.client("scheduler").get_schedule(Name="pawline")["State"] == "DISABLED"


def test_deploying_again_changes_nothing_and_says_so(cloud):
    assert deploy(cloud) == "created"
    assert deploy(cloud) == "unchanged"


def test_a_given_parameter_changes_what_it_is_for_and_stays(cloud):
    deploy(cloud)
    asked: list[ChangeSet] = []

    def remember(change_set: ChangeSet) -> bool:
        asked.append(change_set)
        return True

    assert deploy(cloud, remember, PredictReservedConcurrency="5") == "updated"
    assert [(change.action, change.logical_id) for change in asked[0].changes] == [("Modify", "PredictFunction")]
    assert infra_console.table(asked[0]).row_count == 1
    assert deploy(cloud) == "unchanged"
    limit = cloud.client("lambda").get_function_concurrency(FunctionName="pawline-predict")
    assert limit["ReservedConcurrentExecutions"] == 5


def test_predict_can_be_kept_warm_and_given_an_address_for_signed_requests(cloud):
    deploy(cloud, PredictProvisionedConcurrency="1", PredictFunctionUrl="iam")
    functions_client = cloud.client("lambda")
    alias = {"FunctionName": "pawline-predict", "Qualifier": "live"}
    assert functions_client.get_provisioned_concurrency_config(**alias)["Status"] == "READY"
    url = functions_client.get_function_url_config(**alias)
    outputs = cloud.client("cloudformation").describe_stacks(StackName="pawline")["Stacks"][0]["Outputs"]
    assert ("PredictUrl", url["FunctionUrl"]) in [(each["OutputKey"], each["OutputValue"]) for each in outputs]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url["FunctionUrl"], data=b"{}")
    headers = signed("POST", url["FunctionUrl"], "lambda", b"{}", {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(urllib.request.Request(url["FunctionUrl"], b"{}", headers))
    assert json.loads(refused.value.read())["error"]["code"] == "InvalidRequest"
    assert deploy(cloud, PredictProvisionedConcurrency="0", PredictFunctionUrl="off") == "updated"
    with pytest.raises(functions_client.exceptions.ResourceNotFoundException):
        functions_client.get_function_url_config(**alias)


def test_new_code_is_published_behind_the_alias(cloud, monkeypatch, tmp_path):
    infra.ensure(cloud)
    for name in functions.NAMES:
        (tmp_path / "lambda" / name).mkdir(parents=True)
        (tmp_path / "lambda" / name / "handler.py").write_text(
            "def lambda_handler(event, context): return {'new': True}"
        )
    monkeypatch.setattr(functions, "LAMBDAS", tmp_path / "lambda")
    assert infra.ensure(cloud) == "updated"
    answer = cloud.client("lambda").invoke(FunctionName="pawline-predict:live")
    assert json.loads(answer["Payload"].read()) == {"new": True}
    assert answer["ExecutedVersion"] == "2"


def test_a_zip_that_is_replaced_after_its_upload_is_not_published(cloud, monkeypatch, tmp_path):
    infra.ensure(cloud)
    _replace_functions(monkeypatch, tmp_path, "return {'ours': True}")
    upload = functions.upload

    def replaced(s3, settings, packed) -> None:
        upload(s3, settings, packed)
        for each in packed:
            s3.put_object(Bucket=settings.bucket, Key=each.key, Body=functions.package(tmp_path / "theirs"))

    _write_function(tmp_path / "theirs", "return {'theirs': True}")
    monkeypatch.setattr(functions, "upload", replaced)
    with pytest.raises(UserError, match="CodeSha256"):
        deploy(cloud)
    assert status(cloud) == "UPDATE_ROLLBACK_COMPLETE"
    alias = cloud.client("lambda").get_alias(FunctionName="pawline-predict", Name="live")
    assert alias["FunctionVersion"] == "1"


def test_an_approval_sends_the_deploy_function_a_deployment_and_a_registration_does_not(cloud, monkeypatch, tmp_path):
    _replace_functions(monkeypatch, tmp_path, "import json; print('EVENT', json.dumps(event))")
    infra.ensure(cloud)
    _run_a_pipeline(cloud)
    _register_a_model(cloud, "Approved")
    _register_a_model(cloud, "PendingManualApproval")
    waiting = "arn:aws:sagemaker:us-east-1:123456789012:model-package/pawline/2"
    cloud.client("sagemaker").update_model_package(ModelPackageArn=waiting, ModelApprovalStatus="Approved")

    def received() -> list[dict]:
        logs = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/pawline-deploy")["events"]
        return [json.loads(e["message"].partition(" ")[2]) for e in logs if e["message"].startswith("EVENT")]

    until(received)
    (event,) = received()
    assert (event["model_package_arn"], event["endpoint_name"]) == (waiting, "pawline")
    assert (event["min_instances"], event["instance_type"]) == (1, "ml.m5.xlarge")


def test_a_deployment_that_is_declined_leaves_nothing(cloud, state_dir):
    before = documents(state_dir)
    assert deploy(cloud, lambda change_set: False) == "declined"
    until(lambda: documents(state_dir) == before)


def test_an_update_that_is_declined_changes_nothing(cloud):
    deploy(cloud)
    assert deploy(cloud, lambda change_set: False, LogRetentionDays="7") == "declined"
    assert deploy(cloud) == "unchanged"


def test_a_bucket_that_is_there_is_used_as_it_is(cloud):
    cloud.client("s3").create_bucket(Bucket=cloud.settings.bucket)
    assert infra.ensure(cloud) == "created"
    assert infra.ensure(cloud) == "current"
    assert deploy(cloud) == "unchanged"
    resources = cloud.client("cloudformation").describe_stack_resources(StackName="pawline")["StackResources"]
    assert "Bucket" not in [resource["LogicalResourceId"] for resource in resources]


def test_a_failed_creation_names_the_resource_and_the_way_out(cloud):
    cloud.client("iam").create_role(RoleName="pawline-model", AssumeRolePolicyDocument=_trust())
    with pytest.raises(UserError, match=r"ROLLBACK_COMPLETE.*ModelRole.*already exists"):
        deploy(cloud)
    with pytest.raises(UserError, match="ROLLBACK_COMPLETE") as refused:
        deploy(cloud)
    assert "pawline destroy" in refused.value.way_out
    cloud.client("iam").delete_role(RoleName="pawline-model")
    destroy.destroy(destroy.find(cloud, keep_data=True), lambda item: None)
    assert deploy(cloud) == "created"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Colour": "red"}, "Colour.*do not exist in the template"),
        ({"LogRetentionDays": "8"}, "LogRetentionDays"),
        ({"PredictReservedConcurrency": "many"}, "PredictReservedConcurrency.*must be a number"),
        ({"BucketName": "other"}, "BucketName is not given here"),
    ],
)
def test_a_wrong_parameter_is_named_and_nothing_is_made(cloud, state_dir, given, said):
    before = documents(state_dir)
    with pytest.raises(UserError, match=said):
        deploy(cloud, **given)
    assert documents(state_dir) == before


def test_nobody_there_to_ask_is_an_error_not_a_yes_and_leaves_nothing(cloud, state_dir):
    before = documents(state_dir)
    with pytest.raises(UserError, match="Nobody is here to answer"):
        infra.deploy(cloud, {}, confirm=infra_console.confirm(yes=False), watch=infra_console.watch(quiet=True))
    until(lambda: documents(state_dir) == before)


def test_an_account_elsewhere_is_never_set_up_without_being_asked(cloud, monkeypatch):
    cloud.client("cloudformation")  # made while the address is known: it stays the embedded one
    cloud.client("s3")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(UserError, match="has no stack pawline") as refused:
        infra.ensure(cloud)
    assert "pawline deploy-infra" in refused.value.way_out
    assert cloud.client("s3").list_buckets()["Buckets"] == []


def test_destroy_leaves_the_account_as_it_was_before(cloud, state_dir):
    cloud.client("s3").create_bucket(Bucket="somebody-elses")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="pawline-two")
    before, tree = documents(state_dir), objects(state_dir)
    infra.ensure(cloud)
    _run_a_pipeline(cloud)
    _register_a_model(cloud)
    items = destroy.find(cloud, keep_data=False)
    kinds = [item.kind for item in items]
    assert kinds.index("schedule") < kinds.index("ProcessingJob") < kinds.index("pipeline") < kinds.index("stack")
    assert kinds[-1] == "bucket"
    destroy.destroy(items, lambda item: None)
    assert documents(state_dir) == before
    assert objects(state_dir) == tree
    assert destroy.find(cloud, keep_data=False) == []


def test_destroy_can_keep_the_data_and_the_next_deployment_takes_it_up(cloud):
    infra.ensure(cloud)
    cloud.client("s3").put_object(Bucket=cloud.settings.bucket, Key="pawline/raw/photo.jpg", Body=b"jpeg")
    destroy.destroy(destroy.find(cloud, keep_data=True), lambda item: None)
    assert cloud.client("s3").head_object(Bucket=cloud.settings.bucket, Key="pawline/raw/photo.jpg")
    assert infra.ensure(cloud) == "created"
    destroy.destroy(destroy.find(cloud, keep_data=False), lambda item: None)
    assert cloud.client("s3").list_buckets()["Buckets"] == []


def test_destroy_goes_on_after_a_refusal_and_says_what_is_left():
    done = []

    def refuse() -> None:
        raise UserError("it is DELETE_FAILED.")

    items = [destroy.Item("stack", "pawline", refuse), destroy.Item("bucket", "dogs", lambda: done.append("bucket"))]
    with pytest.raises(UserError, match="stack pawline: it is DELETE_FAILED"):
        destroy.destroy(items, lambda item: None)
    assert done == ["bucket"]


def _run_a_pipeline(cloud: Cloud) -> None:
    sagemaker = cloud.client("sagemaker")
    definition = {"Version": "2020-12-01", "Metadata": {}, "Parameters": [], "Steps": [PROCESSING]}
    sagemaker.create_pipeline(
        PipelineName="pawline",
        PipelineDefinition=json.dumps(definition),
        RoleArn=cloud.settings.role("pipeline"),
        ClientRequestToken="t" * 32,
    )
    arn = sagemaker.start_pipeline_execution(PipelineName="pawline")["PipelineExecutionArn"]

    def over() -> bool:
        state = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        assert state["PipelineExecutionStatus"] != "Failed", state
        return state["PipelineExecutionStatus"] == "Succeeded"

    until(over)


def _replace_functions(monkeypatch, folder: Path, body: str) -> None:
    for name in functions.NAMES:
        _write_function(folder / "lambda" / name, body)
    monkeypatch.setattr(functions, "LAMBDAS", folder / "lambda")


def _write_function(folder: Path, body: str) -> None:
    folder.mkdir(parents=True)
    (folder / "handler.py").write_text(f"def lambda_handler(event, context): {body}")


def _register_a_model(cloud: Cloud, approval: str = "PendingManualApproval") -> None:
    container = {"Image": "python", "ModelDataUrl": f"s3://{cloud.settings.bucket}/pawline/runs/out/features/a.txt"}
    cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName="pawline",
        ModelApprovalStatus=approval,
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )


def _trust() -> str:
    allow = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [allow]})
