"""Temporary credentials: access key id -> role.

A key that is not there belongs to the account's owner: whoever uses this machine.
"""

import base64
import hashlib
import secrets
import time

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.iam import roles
from sagelocal.services.iam.documents import SESSION

KEY_PREFIX = "ASIAEMBED"  # AWS's own temporary access keys begin with ASIA


class InvalidClientTokenId(AwsError):
    def __init__(self) -> None:
        super().__init__("InvalidClientTokenId", "The security token included in the request is invalid.", 403)


class ExpiredToken(AwsError):
    def __init__(self) -> None:
        super().__init__("ExpiredToken", "The security token included in the request is expired", 403)


def assume(context: Context, caller: Caller, seconds: float) -> Json:
    """New credentials of a session, for so long: AccessKeyId, SecretAccessKey, SessionToken, Expiration (epoch s)."""
    return _keep(context, caller, KEY_PREFIX + _text(secrets.token_bytes(10)), time.time() + seconds)


def of_service(context: Context, caller: Caller) -> Json:
    """The credentials with which a service runs a role's code: the same ones each time, without an end here.

    AWS renews them before they expire; a process that got them in its environment could not notice.
    """
    digest = hashlib.sha256(f"{caller.role_arn}\n{caller.session}".encode()).digest()
    return _keep(context, caller, KEY_PREFIX + _text(digest[:10]), None)


def environment(context: Context) -> dict[str, str]:
    """The variables with which a process acts as the context's caller; as the owner where IAM has no such role."""
    caller = context.caller
    if caller is None or roles.find(context, caller.role_arn) is None:
        return {"AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded"}
    made = of_service(context, caller)
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }


def caller_of(context: Context, access_key: str) -> Caller | None:
    """Who has an access key; None for the account's owner. Raises InvalidClientTokenId, ExpiredToken."""
    if not access_key.startswith(KEY_PREFIX):
        return None
    body = context.store.get(SESSION, access_key)
    if body is None:  # its role was deleted: what held it must not become the owner
        raise InvalidClientTokenId
    if body["Expiration"] is not None and body["Expiration"] < time.time():
        raise ExpiredToken
    tags = tuple((key, value) for key, value in body.get("Tags", []))
    policies = tuple(body.get("Policies", []))
    return Caller(body["RoleArn"], body["SessionName"], policies, tags, body.get("SourceIdentity", ""))


def forget(context: Context, role_arn: str) -> None:
    """End the sessions of a role that is deleted."""
    for key, body in context.store.items(SESSION):
        if body["RoleArn"] == role_arn:
            context.store.delete(SESSION, key)


def _keep(context: Context, caller: Caller, key: str, expiration: float | None) -> Json:
    body: Json = {"RoleArn": caller.role_arn, "SessionName": caller.session, "Expiration": expiration}
    if caller.policies or caller.tags or caller.source_identity:
        body |= {"Policies": list(caller.policies), "Tags": [list(tag) for tag in caller.tags]}
        body["SourceIdentity"] = caller.source_identity
    if context.store.get(SESSION, key) != body:
        context.store.put(SESSION, key, body)
    secret, token = _derived(key, "secret"), _derived(key, "token")
    return {"AccessKeyId": key, "SecretAccessKey": secret, "SessionToken": token, "Expiration": expiration}


def _text(data: bytes) -> str:
    return base64.b32encode(data).decode()


def _derived(key: str, what: str) -> str:
    """Signatures are not checked here, so these only have to look like what clients expect."""
    return base64.b64encode(hashlib.sha256(f"{what} of {key}".encode()).digest()).decode()[:40]
