"""Who asks: a session of a role. The account's owner is no caller: where None is given nothing is checked."""

from dataclasses import dataclass

SERVICE_SESSION = "SageMaker"  # what SageMaker calls its own sessions of a role that was passed to it


@dataclass(frozen=True)
class Caller:
    """A session of a role, by the role's ARN.

    `policies`: what the session may do at most: documents, and ARNs of managed policies; none: all that the role may.
    `tags`: those of the session, which come before the role's own.
    """

    role_arn: str
    session: str = SERVICE_SESSION
    policies: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    source_identity: str = ""

    def __str__(self) -> str:
        return self.arn

    @property
    def role(self) -> str:
        """The role's name: the last part of its ARN, behind its path."""
        return self.role_arn.rpartition("/")[2]

    @property
    def account(self) -> str:
        return self.role_arn.split(":")[4]

    @property
    def arn(self) -> str:
        """The session's ARN, as GetCallerIdentity and every refusal show it."""
        return f"arn:aws:sts::{self.account}:assumed-role/{self.role}/{self.session}"


ANONYMOUS = Caller(
    "arn:aws:iam::anonymous:role/anonymous", ""
)  # who did not sign: it reads what buckets let everybody read
