"""The decision on one call: an explicit Deny first, then the boundary, then whatever allows it.

Order: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sagelocal.services.iam.conditions import Keys
from sagelocal.services.iam.policy import Call, Statement

NOT_ALLOWED, DENIED, OUTSIDE_BOUNDARY = "implicitDeny", "explicitDeny", "boundary"


@dataclass(frozen=True)
class Decision:
    """Allowed by `statements`, or refused: by `statements` where those deny, else because none allows."""

    allowed: bool
    statements: tuple[Statement, ...] = ()
    refusal: str = ""

    def why(self, action: str) -> str:
        """The end of AWS's sentence on a refusal."""
        if self.refusal == DENIED:
            return "with an explicit deny in an identity-based policy"
        if self.refusal == OUTSIDE_BOUNDARY:
            return f"because no permissions boundary allows the {action} action"
        return f"because no identity-based policy allows the {action} action"


def decide(
    statements: Sequence[Statement], call: Call, common: Keys, boundary: Sequence[Statement] | None = None
) -> Decision:
    """Whether `statements` allow a call. `common`: condition keys of every request of this caller, in lower case."""
    keys = call.all_keys(common)
    own = [statement for statement in statements if statement.applies(call.action, call.resource, keys)]
    outer = [statement for statement in boundary or () if statement.applies(call.action, call.resource, keys)]
    denying = tuple(statement for statement in own + outer if not statement.allows)
    if denying:
        return Decision(False, denying, DENIED)
    if boundary is not None and not outer:
        return Decision(False, (), OUTSIDE_BOUNDARY)
    return Decision(True, tuple(own)) if own else Decision(False, (), NOT_ALLOWED)
