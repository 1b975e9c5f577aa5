"""infra/template.yaml as an account has it: all options switched on, properties resolved."""

from pathlib import Path

from pipeline import infra
from pipeline.settings import from_environment
from sagelocal import services
from sagelocal.core.context import Context
from sagelocal.core.store import Store
from sagelocal.services.cloudformation import plan, template

STACK = {"StackName": "pawline", "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/pawline/1"}
SETTINGS = from_environment({})
GIVEN = {
    "BucketName": SETTINGS.bucket,
    "TrainingRepositoryArn": infra.repository_arn(SETTINGS, SETTINGS.training_image),
    "ServingRepositoryArn": infra.repository_arn(SETTINGS, SETTINGS.serving_image),
    "DeployCodeKey": "d.zip",
    "PredictCodeKey": "p.zip",
    "RetrainCodeKey": "r.zip",
    "RetrainOnNewData": "true",
    "CreateKey": "true",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "PredictProvisionedConcurrency": "1",
    "PredictFunctionUrl": "iam",
}


def render(folder: Path) -> dict[str, dict]:
    """Logical id → resource. What only a stack knows is `<logical id.attribute>`."""
    services.load_all()
    context = Context(folder, "http://127.0.0.1:1", Store(folder / "state.db"))
    text = infra.TEMPLATE.read_text()
    declared = template.load(text)["Parameters"]
    texts = {name: str(body.get("Default", "")) for name, body in declared.items()} | GIVEN
    wanted = plan.want(context, STACK, text, texts)
    scope = wanted.scope(context, STACK, lambda logical, attribute: f"<{logical}.{attribute or 'Ref'}>")
    found = wanted.template["Resources"]
    return {name: {**found[name], "Properties": scope.resolve(found[name]["Properties"])} for name in wanted.order}


def statements(resources: dict[str, dict]) -> list[tuple[str, dict]]:
    """(role's name, statement) of every inline policy, those that several roles share among them."""
    roles = {f"<{name}.Ref>": body for name, body in resources.items() if body["Type"] == "AWS::IAM::Role"}
    held = [(body, policy) for body in roles.values() for policy in body["Properties"]["Policies"]]
    for body in resources.values():
        if body["Type"] == "AWS::IAM::Policy":
            held += [(roles[name], body["Properties"]) for name in body["Properties"]["Roles"]]
    return [
        (role["Properties"]["RoleName"], statement)
        for role, policy in held
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
