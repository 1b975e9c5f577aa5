"""Credentials: the account's owner's, and temporary ones of roles.

All are derived from the secret of the state directory, so that nobody can make up those of a role.
"""

import base64
import secrets
import time
from dataclasses import dataclass, field

from sagelocal.core import secret
from sagelocal.core.caller import Caller
from sagelocal.core.context import Context, one_per_server
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.iam import roles
from sagelocal.services.iam.documents import SESSION

KEY_PREFIX = "ASIA"  # AWS's own temporary access keys begin with it
NO_ROLE = "(none)"  # whose session a process gets that was started without a role; no role can have that name


@dataclass(frozen=True)
class Identity:
    """Who has an access key, and what proves it: the secret to sign with, the token to send. `caller` is None, and
    `token` empty, for the account's owner."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    caller: Caller | None


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
    return _keep(context, caller, _service_key(context, caller, "role"), None)


def environment(context: Context) -> dict[str, str]:
    """The variables with which a process acts as the context's caller: never the owner's.

    A role that IAM does not know has a session too, which lives on its own when a role of that name comes and goes.
    """
    caller = context.caller or Caller(f"arn:aws:iam::{context.account}:role/{NO_ROLE}")
    if roles.find(context, caller.role_arn):
        made = of_service(context, caller)
    else:
        made = _keep(context, caller, _service_key(context, caller, "unknown role"), None)
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }


@one_per_server
def owner(context: Context) -> secret.Keys:
    return secret.of(context.state_dir)


def identity(context: Context, access_key: str) -> Identity:
    """Raises InvalidClientTokenId, ExpiredToken."""
    caller = caller_of(context, access_key)
    if caller is None:
        return Identity(access_key, owner(context).secret_key, "", None)
    return Identity(access_key, _derived(context, access_key, "secret"), _derived(context, access_key, "token"), caller)


def caller_of(context: Context, access_key: str) -> Caller | None:
    """Who has an access key; None for the account's owner. Raises InvalidClientTokenId, ExpiredToken."""
    if access_key == owner(context).access_key:
        return None
    body = context.store.get(SESSION, access_key)
    if body is None:  # nobody's, or of a role that was deleted
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
    made = {"AccessKeyId": key, "SecretAccessKey": _derived(context, key, "secret")}
    return {**made, "SessionToken": _derived(context, key, "token"), "Expiration": expiration}


def _service_key(context: Context, caller: Caller, kind: str) -> str:
    return KEY_PREFIX + _text(owner(context).derived(f"key of {kind} {caller.role_arn}\n{caller.session}")[:10])


def _text(data: bytes) -> str:
    return base64.b32encode(data).decode()


def _derived(context: Context, key: str, what: str) -> str:
    return base64.b64encode(owner(context).derived(f"{what} of {key}")).decode()[:40]
