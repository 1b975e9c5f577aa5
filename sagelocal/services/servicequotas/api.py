"""Service Quotas for SageMaker: how many instances of each type may run at a time.

Every type of every use has the same quota until RequestServiceQuotaIncrease changes it, which is granted at once.
"""

import hashlib
import time
import uuid
from functools import cache
from typing import cast

from botocore.model import StringShape

from sagelocal.core import service_models
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.core.json import Json
from sagelocal.core.numbers import is_whole
from sagelocal.core.registry import operation
from sagelocal.core.store import Kind

SERVICE = "service-quotas"


QUOTA = Kind[Json]("service-quota")  # the Value of a quota that was changed, by its name
DEFAULT_VALUE = 20.0
USES = {
    "processing job": "ProcessingInstanceType",
    "training job": "TrainingInstanceType",
    "spot training job": "TrainingInstanceType",
    "endpoint": "ProductionVariantInstanceType",
}


@operation(SERVICE, "ListServiceQuotas")
def list_service_quotas(context: Context, request: Json) -> Json:
    return _page([_shown(context, name) for name in _names(request["ServiceCode"])], request)


@operation(SERVICE, "ListAWSDefaultServiceQuotas")
def list_aws_default_service_quotas(context: Context, request: Json) -> Json:
    return _page([_quota(context, name, DEFAULT_VALUE) for name in _names(request["ServiceCode"])], request)


@operation(SERVICE, "GetServiceQuota")
def get_service_quota(context: Context, request: Json) -> Json:
    return {"Quota": _shown(context, _named(request))}


@operation(SERVICE, "GetAWSDefaultServiceQuota")
def get_aws_default_service_quota(context: Context, request: Json) -> Json:
    return {"Quota": _quota(context, _named(request), DEFAULT_VALUE)}


@operation(SERVICE, "RequestServiceQuotaIncrease")
def request_service_quota_increase(context: Context, request: Json) -> Json:
    name = _named(request)
    context.store.put(QUOTA, name, {"Value": request["DesiredValue"]})
    quota = _shown(context, name)
    kept = ("ServiceCode", "ServiceName", "QuotaCode", "QuotaName", "QuotaArn", "GlobalQuota", "Unit")
    about = {member: quota[member] for member in kept}
    identifier, now = uuid.uuid4().hex, time.time()
    return {
        "RequestedQuota": about
        | {"Id": identifier, "DesiredValue": request["DesiredValue"], "Status": "APPROVED"}
        | {"Created": now, "LastUpdated": now}
    }


@cache
def _codes() -> dict[str, str]:
    """Quota code -> quota name, for every instance type that SageMaker's model names."""
    model = service_models.service_model("sagemaker")
    types = {use: cast(StringShape, model.shape_for(shape)).enum for use, shape in USES.items()}
    names = [f"{kind} for {use} usage" for use, kinds in types.items() for kind in kinds]
    return {_code(name): name for name in names}


def _code(name: str) -> str:
    return f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


def _names(service: str) -> list[str]:
    if service != "sagemaker":
        raise _unknown(f"service {service}")
    return sorted(_codes().values())


def _named(request: Json) -> str:
    _names(request["ServiceCode"])
    name = _codes().get(request["QuotaCode"])
    if name is None:
        raise _unknown(f"quota {request['QuotaCode']} of {request['ServiceCode']}")
    return name


def _unknown(what: str) -> AwsError:
    return AwsError("NoSuchResourceException", f"The request failed because the {what} does not exist.")


def _shown(context: Context, name: str) -> Json:
    granted = context.store.get(QUOTA, name)
    return _quota(context, name, granted["Value"] if granted else DEFAULT_VALUE)


def _quota(context: Context, name: str, value: float) -> Json:
    code = _code(name)
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": context.arn("servicequotas", f"sagemaker/{code}"),
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _page(quotas: list[Json], request: Json) -> Json:
    token = request.get("NextToken", "0")
    if not is_whole(token):
        raise ValidationException(f"Invalid NextToken: {token}")
    first = int(token)
    last = first + request.get("MaxResults", 100)
    return {"Quotas": quotas[first:last], **({"NextToken": str(last)} if last < len(quotas) else {})}
