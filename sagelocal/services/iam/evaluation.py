"""The decision on one call: an explicit Deny first, then the boundary and the session, then whatever allows it.

Order: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sagelocal.core.caller import Caller
from sagelocal.services.iam.conditions import Keys
from sagelocal.services.iam.policy import TO_ACCOUNT, TO_ROLE, TO_SESSION, Call, Statement

NOT_ALLOWED, DENIED = "implicitDeny", "explicitDeny"
OUTSIDE_BOUNDARY, OUTSIDE_SESSION, NOT_TRUSTED = "boundary", "session", "trust"
# Kinds of policies, as AWS's sentences on refusals name them.
IDENTITY, RESOURCE, BOUNDARY, SESSION = (
    "an identity-based policy",
    "a resource-based policy",
    "a permissions boundary",
    "a session policy",
)


@dataclass(frozen=True)
class Decision:
    """Allowed by `statements`, or refused: by `statements` where those deny, else because none allows."""

    allowed: bool
    statements: tuple[Statement, ...] = ()
    refusal: str = ""
    denied_in: str = IDENTITY

    def why(self, action: str) -> str:
        """The end of AWS's sentence on a refusal."""
        if self.refusal == DENIED:
            return f"with an explicit deny in {self.denied_in}"
        kind = {OUTSIDE_BOUNDARY: BOUNDARY, OUTSIDE_SESSION: SESSION, NOT_TRUSTED: RESOURCE}
        kind_of_policy = kind.get(self.refusal, IDENTITY).removeprefix("an ").removeprefix("a ")
        return f"because no {kind_of_policy} allows the {action} action"


@dataclass(frozen=True)
class Resource:
    """The policy of the resource that is asked for, and who asks: a role's session, or None for the account's root.

    A role's trust policy is `required`: nobody may assume the role whom it does not name.
    """

    statements: Sequence[Statement]
    caller: Caller | None
    account: str
    required: bool = False

    def applying(self, call: Call, keys: Keys, allows: bool, *reaches: str) -> tuple[Statement, ...]:
        """The statements that are about the caller in one of those ways."""
        return tuple(
            statement
            for statement in self.statements
            if statement.allows == allows
            and statement.reach(self.caller, self.account) in reaches
            and statement.applies(call.action, call.resource, keys)
        )


def decide(
    statements: Sequence[Statement],
    call: Call,
    common: Keys,
    boundary: Sequence[Statement] | None = None,
    session: Sequence[Statement] | None = None,
    resource: Resource | None = None,
) -> Decision:
    """Whether the `statements` of a role, or the policy of the resource, allow a call.

    `common`: condition keys of every request of this caller, in lower case. `boundary`, `session`: what the role's
    permissions boundary and the session's policies allow at most, None where there is none.

    What a resource's policy gives to a role by its ARN is the role's, so boundary and session limit it. What it gives
    to a session by its ARN, or to everybody, they do not. What it gives to the account, the account's own policies
    must give on to the role. Source:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    keys = call.all_keys(common)

    def applying(given: Sequence[Statement] | None, allows: bool) -> tuple[Statement, ...]:
        return tuple(s for s in given or () if s.allows == allows and s.applies(call.action, call.resource, keys))

    denials = {
        name: applying(given, False)
        for name, given in ((IDENTITY, statements), (BOUNDARY, boundary), (SESSION, session))
    }
    if resource:
        denials[RESOURCE] = resource.applying(call, keys, False, TO_SESSION, TO_ROLE, TO_ACCOUNT)
    for denied_in, denying in denials.items():
        if denying:
            return Decision(False, denying, DENIED, denied_in)
    direct = resource.applying(call, keys, True, TO_SESSION) if resource else ()
    if direct:
        return Decision(True, direct)
    given = resource.applying(call, keys, True, TO_ROLE) if resource else ()
    if resource and resource.required and not given and not resource.applying(call, keys, True, TO_ACCOUNT):
        return Decision(False, (), NOT_TRUSTED)
    if boundary is not None and not applying(boundary, True):
        return Decision(False, (), OUTSIDE_BOUNDARY)
    if session is not None and not applying(session, True):
        return Decision(False, (), OUTSIDE_SESSION)
    allowing = applying(statements, True) + given
    return Decision(True, allowing) if allowing else Decision(False, (), NOT_ALLOWED)
