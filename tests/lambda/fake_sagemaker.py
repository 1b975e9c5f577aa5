"""The calls of one deployment (SageMaker, auto scaling, alarms, S3), in memory: checked against botocore's own model of
each call, with updates that take time, fail, and roll back, and with a crash at any chosen call."""

import copy
import io
import json
import re
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

_SESSION = botocore.session.get_session()
SERVICES = ("sagemaker", "application-autoscaling", "cloudwatch", "s3", "sagemaker-runtime")
MODELS = {name: _SESSION.get_service_model(name) for name in SERVICES}
ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012"


class Crash(BaseException):
    """The function's process ends here."""


class World:
    """`polls`: how many looks at an endpoint it takes until a change to it is through. `fails_with`: the reason that
    the next change to the endpoint fails for. `crash_at`: the call, counted from 0, that the process dies at; with
    `after` it dies when AWS has already done it. `objects`: (bucket, key) → content. `breeds`: model package → what its
    model says of any photo, or the error that it answers."""

    def __init__(self, packages: dict[str, dict[str, Any]]) -> None:
        self.packages = packages
        self.models: dict[str, Any] = {}
        self.configs: dict[str, Any] = {}
        self.endpoints: dict[str, Any] = {}
        self.targets: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.alarms: dict[str, Any] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.breeds: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.polls = 2
        self.fails_with: str | None = None
        self.crash_at: int | None = None
        self.after = False

    def state(self) -> dict[str, Any]:
        names = ("models", "configs", "endpoints", "targets", "policies", "alarms")
        return copy.deepcopy({name: getattr(self, name) for name in names})

    def changing_calls(self) -> list[str]:
        return [name for name, _ in self.calls if not name.startswith(("Describe", "List", "Get", "Invoke"))]

    def tags(self, name: str = "dogs") -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.list_tags(f"{ACCOUNT}:endpoint/{name}")["Tags"]}

    def arguments(self, operation: str) -> dict[str, Any]:
        """Of the latest such call."""
        return [arguments for name, arguments in self.calls if name == operation][-1]

    def client(self, service: str) -> "Client":
        return Client(self, service)

    def describe_model_package(self, ModelPackageName):
        if ModelPackageName not in self.packages:
            raise refused("DescribeModelPackage", f"ModelPackage {ModelPackageName} does not exist.")
        return {"ModelPackageArn": ModelPackageName, "ModelPackageStatus": "Completed"} | self.packages[
            ModelPackageName
        ]

    def list_model_packages(
        self, ModelPackageGroupName, ModelApprovalStatus, SortBy="CreationTime", SortOrder="Ascending", NextToken="0"
    ):
        """Two at a time; a later version is newer."""
        arns = [arn for arn, body in self.packages.items() if body.get("ModelApprovalStatus") == ModelApprovalStatus]
        arns = [arn for arn in arns if arn.split("/")[1] == ModelPackageGroupName]
        arns = arns[::-1] if SortOrder == "Descending" else arns
        start = int(NextToken)
        listed = [{"ModelPackageArn": arn, "ModelPackageStatus": "Completed"} for arn in arns[start : start + 2]]
        more = {"NextToken": str(start + 2)} if start + 2 < len(arns) else {}
        return {"ModelPackageSummaryList": listed, **more}

    def list_objects_v2(self, Bucket, Prefix, MaxKeys):
        keys = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))
        return {"Contents": [{"Key": key} for key in keys[:MaxKeys]]} if keys else {}

    def describe_model(self, ModelName):
        return self._found(self.models, ModelName, "DescribeModel", "model")

    def create_model(self, ModelName, **rest):
        if ModelName in self.models:
            raise refused("CreateModel", f'Cannot create already existing model "{ACCOUNT}:model/{ModelName}".')
        self.models[ModelName] = {"ModelName": ModelName, **rest}
        return {"ModelArn": f"{ACCOUNT}:model/{ModelName}"}

    def describe_endpoint_config(self, EndpointConfigName):
        return self._found(self.configs, EndpointConfigName, "DescribeEndpointConfig", "endpoint configuration")

    def create_endpoint_config(self, EndpointConfigName, **rest):
        for variant in rest["ProductionVariants"]:
            self.describe_model(variant["ModelName"])
        self.configs[EndpointConfigName] = {"EndpointConfigName": EndpointConfigName, **rest}
        return {"EndpointConfigArn": f"{ACCOUNT}:endpoint-config/{EndpointConfigName}"}

    def describe_endpoint(self, EndpointName):
        self._pass_time(EndpointName)
        found = self._found(self.endpoints, EndpointName, "DescribeEndpoint", "endpoint")
        return {key: value for key, value in found.items() if not key.startswith("_")}

    def create_endpoint(self, EndpointName, EndpointConfigName, **rest):
        if EndpointName in self.endpoints:
            raise refused("CreateEndpoint", f'Cannot create already existing endpoint "{EndpointName}".')
        self.describe_endpoint_config(EndpointConfigName)
        self.endpoints[EndpointName] = {
            "EndpointName": EndpointName,
            "EndpointArn": f"{ACCOUNT}:endpoint/{EndpointName}",
            "EndpointConfigName": EndpointConfigName,
            "EndpointStatus": "Creating",
            "_polls": self.polls,
            "_tags": {tag["Key"]: tag["Value"] for tag in rest.get("Tags", [])},
        }
        return {"EndpointArn": f"{ACCOUNT}:endpoint/{EndpointName}"}

    def update_endpoint(self, EndpointName, EndpointConfigName, **rest):
        endpoint = self._found(self.endpoints, EndpointName, "UpdateEndpoint", "endpoint")
        if endpoint["EndpointStatus"] != "InService":
            raise refused("UpdateEndpoint", f'Cannot update in-progress endpoint "{EndpointName}".')
        self.describe_endpoint_config(EndpointConfigName)
        endpoint |= {
            "EndpointStatus": "Updating",
            "PendingDeploymentSummary": {"EndpointConfigName": EndpointConfigName},
            "_polls": self.polls,
        }
        return {"EndpointArn": endpoint["EndpointArn"]}

    def delete_endpoint(self, EndpointName):
        self._found(self.endpoints, EndpointName, "DeleteEndpoint", "endpoint")
        self.endpoints[EndpointName] |= {"EndpointStatus": "Deleting", "_polls": self.polls}
        return {}

    def list_tags(self, ResourceArn):
        endpoint = self._found(self.endpoints, ResourceArn.rpartition("/")[2], "ListTags", "endpoint")
        return {"Tags": [{"Key": key, "Value": value} for key, value in endpoint["_tags"].items()]}

    def add_tags(self, ResourceArn, Tags):
        endpoint = self._found(self.endpoints, ResourceArn.rpartition("/")[2], "AddTags", "endpoint")
        for tag in Tags:
            assert len(tag["Key"]) <= 128, tag
            assert re.fullmatch(r"[\w .:/=+\-@]{0,256}", tag["Value"]), tag
            endpoint["_tags"][tag["Key"]] = tag["Value"]
        assert len(endpoint["_tags"]) <= 50
        return {"Tags": Tags}

    def delete_model(self, ModelName):
        self._found(self.models, ModelName, "DeleteModel", "model")
        del self.models[ModelName]
        return {}

    def delete_endpoint_config(self, EndpointConfigName):
        self._found(self.configs, EndpointConfigName, "DeleteEndpointConfig", "endpoint configuration")
        del self.configs[EndpointConfigName]
        return {}

    def list_models(self, NameContains):
        return {"Models": [{"ModelName": name} for name in self.models if NameContains in name]}

    def list_endpoint_configs(self, NameContains, NextToken="0"):
        """One at a time."""
        names = sorted(name for name in self.configs if NameContains in name)
        found = [{"EndpointConfigName": name} for name in names[int(NextToken) :][:1]]
        more = {"NextToken": str(int(NextToken) + 1)} if int(NextToken) + 1 < len(names) else {}
        return {"EndpointConfigs": found, **more}

    def invoke_endpoint(self, EndpointName, ContentType, Accept, Body):
        endpoint = self._found(self.endpoints, EndpointName, "InvokeEndpoint", "endpoint")
        variant = self.configs[endpoint["EndpointConfigName"]]["ProductionVariants"][0]
        container = self.models[variant["ModelName"]]["PrimaryContainer"]
        breed = self.breeds.get(container["Environment"]["MODEL_PACKAGE_ARN"], "beagle")
        if isinstance(breed, Exception):
            raise breed
        return {"Body": io.BytesIO(json.dumps({"predictions": [{"breed": breed, "probability": 0.9}]}).encode())}

    def get_object(self, Bucket, Key):
        if (Bucket, Key) not in self.objects:
            raise refused("GetObject", "The specified key does not exist.", "NoSuchKey")
        content = self.objects[Bucket, Key]
        return {"Body": io.BytesIO(content), "ContentLength": len(content)}

    def put_object(self, Bucket, Key, Body):
        self.objects[Bucket, Key] = Body
        return {}

    def describe_alarms(self, AlarmNames, AlarmTypes):
        return {"MetricAlarms": [self.alarms[name] for name in AlarmNames if name in self.alarms]}

    def put_metric_alarm(self, AlarmName, **rest):
        state = self.alarms.get(AlarmName, {"StateValue": "INSUFFICIENT_DATA"})["StateValue"]
        self.alarms[AlarmName] = {"AlarmName": AlarmName, "StateValue": state, "ActionsEnabled": True, **rest}
        return {}

    def delete_alarms(self, AlarmNames):
        for name in AlarmNames:
            if name not in self.alarms:
                raise refused("DeleteAlarms", f"Alarm {name} not found.", "ResourceNotFound")
            del self.alarms[name]
        return {}

    def describe_scalable_targets(self, ResourceIds, **_):
        return {"ScalableTargets": [self.targets[name] for name in ResourceIds if name in self.targets]}

    def register_scalable_target(self, ResourceId, **rest):
        name = ResourceId.split("/")[1]
        if self.endpoints.get(name, {}).get("EndpointStatus") != "InService":
            raise refused("RegisterScalableTarget", "The endpoint is not in service.")
        self.targets[ResourceId] = {"ResourceId": ResourceId, **rest}
        return {}

    def deregister_scalable_target(self, ResourceId, **_):
        del self.targets[ResourceId]
        self.policies = {name: policy for name, policy in self.policies.items() if policy["ResourceId"] != ResourceId}
        return {}

    def describe_scaling_policies(self, PolicyNames, **_):
        return {"ScalingPolicies": [self.policies[name] for name in PolicyNames if name in self.policies]}

    def put_scaling_policy(self, PolicyName, **rest):
        arn = f"arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:{PolicyName}"
        if "TargetTrackingScalingPolicyConfiguration" in rest:
            rest["TargetTrackingScalingPolicyConfiguration"]["DisableScaleIn"] = False
        self.policies[PolicyName] = {"PolicyName": PolicyName, "PolicyARN": arn, **rest}
        return {"PolicyARN": arn}

    def _pass_time(self, name: str) -> None:
        endpoint = self.endpoints.get(name)
        if not endpoint or "_polls" not in endpoint:
            return
        endpoint["_polls"] -= 1
        if endpoint["_polls"] > 0:
            return
        del endpoint["_polls"]
        status, pending = endpoint["EndpointStatus"], endpoint.pop("PendingDeploymentSummary", None)
        failure, self.fails_with = self.fails_with, None
        if status == "Deleting":
            del self.endpoints[name]
            return
        endpoint.pop("FailureReason", None)
        if failure:
            endpoint |= {"FailureReason": failure, "EndpointStatus": "Failed" if status == "Creating" else "InService"}
            return
        if pending:
            endpoint["EndpointConfigName"] = pending["EndpointConfigName"]
        endpoint |= {"EndpointStatus": "InService", "ProductionVariants": [self._variant(endpoint)]}

    def _variant(self, endpoint: dict[str, Any]) -> dict[str, Any]:
        variant = self.configs[endpoint["EndpointConfigName"]]["ProductionVariants"][0]
        if "ServerlessConfig" in variant:
            return {"VariantName": "AllTraffic", "CurrentServerlessConfig": variant["ServerlessConfig"]}
        return {"VariantName": "AllTraffic", "CurrentInstanceCount": variant["InitialInstanceCount"]}

    @staticmethod
    def _found(table: dict[str, Any], name: str, operation: str, kind: str) -> dict[str, Any]:
        if name not in table:
            raise refused(operation, f'Could not find {kind} "{ACCOUNT}:{kind}/{name}".')
        return table[name]


class Client:
    """One service's client: snake_case calls, arguments checked as botocore checks them."""

    def __init__(self, world: World, service: str) -> None:
        self._world, self._model, self.meta = world, MODELS[service], self
        self.method_to_api_mapping = {
            name: operation
            for operation in self._model.operation_names
            if hasattr(world, name := botocore.xform_name(operation))
        }

    def upload_fileobj(self, Fileobj, Bucket, Key, Config):
        """As boto3's transfer does it: the object is there once the stream has been read to its end."""
        self.put_object(Bucket=Bucket, Key=Key, Body=b"".join(iter(lambda: Fileobj.read(4), b"")))

    def __getattr__(self, name: str):
        operation = self.method_to_api_mapping[name]

        def call(**arguments):
            world = self._world
            report = ParamValidator().validate(arguments, self._model.operation_model(operation).input_shape)
            assert not report.has_errors(), report.generate_report()
            crash = world.crash_at == len(world.calls)
            world.calls.append((operation, arguments))
            if crash and not world.after:
                raise Crash(operation)
            try:
                return getattr(world, name)(**copy.deepcopy(arguments))
            finally:
                if crash:
                    raise Crash(operation)

        return call


def refused(operation: str, message: str, code: str = "ValidationException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
