"""What IAM keeps: roles, managed policies, instance profiles, and the sessions of roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_iam.type_defs import TagTypeDef


class Role(TypedDict):
    """A role, by its name."""

    Path: str
    RoleName: str
    RoleId: str
    Arn: str
    CreateDate: float
    AssumeRolePolicyDocument: str  # as it was given; answers have it URL-encoded
    Description: str | None
    MaxSessionDuration: int
    PermissionsBoundary: NotRequired[dict[str, str]]
    Tags: list[TagTypeDef]
    _Inline: dict[str, str]  # the texts of its own policies, by name
    _Attached: list[str]  # ARNs of managed policies


class Policy(TypedDict):
    """A managed policy, by its ARN. AWS's own have only what policies_api gives them."""

    PolicyName: str
    PolicyId: NotRequired[str]
    Arn: str
    Path: str
    DefaultVersionId: str
    IsAttachable: bool
    Description: NotRequired[str | None]
    CreateDate: NotRequired[float]
    UpdateDate: NotRequired[float]
    Tags: NotRequired[list[TagTypeDef]]
    _Versions: dict[str, Json]  # Document and CreateDate by VersionId, oldest first


class InstanceProfile(TypedDict):
    InstanceProfileName: str
    InstanceProfileId: str
    Arn: str
    Path: str
    CreateDate: float
    _Roles: list[str]  # names, one at most


ROLE = Kind[Role]("iam-role")
POLICY = Kind[Policy]("iam-policy")
PROFILE = Kind[InstanceProfile]("iam-instance-profile")
# By access key id: RoleArn, SessionName and Expiration, None for as long as the role exists.
SESSION = Kind[Json]("session")
