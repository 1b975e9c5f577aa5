"""What each statement was needed for: the calls that it allowed, and those that nothing else of the role allows.

Kept in memory, per account, since the server started or since `forget`. A statement without a call under
"only_here" could be taken away and every call so far would still be allowed.
"""

import threading

from sagelocal.core.caller import Caller
from sagelocal.core.context import Context, one_per_server
from sagelocal.core.json import Json
from sagelocal.services.iam import roles
from sagelocal.services.iam.documents import ROLE
from sagelocal.services.iam.policy import Call, Statement

MAX_REFUSED = 200


class Record:
    """The calls of one account: for each role, action and set of allowing statements the first resource and a count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allowed: dict[tuple[str, str, tuple[tuple[str, str], ...]], Json] = {}
        self._refused: list[Json] = []

    def allow(self, caller: Caller, call: Call, by: tuple[Statement, ...]) -> None:
        key = (caller.role, call.action, tuple(sorted((statement.policy, statement.name) for statement in by)))
        with self._lock:
            entry = self._allowed.setdefault(key, {"action": call.action, "resource": call.resource, "count": 0})
            entry["count"] += 1

    def refuse(self, caller: Caller, call: Call, reason: str) -> None:
        entry = {"role": caller.role, "action": call.action, "resource": call.resource, "reason": reason}
        with self._lock:
            if len(self._refused) < MAX_REFUSED and entry not in self._refused:
                self._refused.append(entry)

    def forget(self) -> None:
        with self._lock:
            self._allowed.clear()
            self._refused.clear()

    def calls(self, role: str, statement: Statement) -> tuple[list[Json], list[Json]]:
        """(calls it allowed, those of them that no other statement allowed)."""
        name = (statement.policy, statement.name)
        with self._lock:
            mine = [(by, dict(call)) for (of, _, by), call in self._allowed.items() if of == role and name in by]
        return [call for _, call in mine], [call for by, call in mine if len(by) == 1]

    def refused(self) -> list[Json]:
        with self._lock:
            return [dict(entry) for entry in self._refused]


@one_per_server
def record(_: Context) -> Record:
    """The account's record."""
    return Record()


def used_statements(context: Context) -> Json:
    """{"roles": {role: [{"policy", "sid", "effect", "allowed": [call…], "only_here": [call…],
    "unused_actions": […]}…]}, "refused": [{"role", "action", "resource", "reason"}…]}; a call is {"action",
    "resource" (the first one), "count"}. Every statement of every role is there, used or not."""
    kept = record(context)
    shown: dict[str, list[Json]] = {}
    for role in context.store.list(ROLE):
        shown[role["RoleName"]] = []
        for statement in roles.statements(context, role):
            allowed, alone = kept.calls(role["RoleName"], statement)
            done = {call["action"].lower() for call in allowed}
            shown[role["RoleName"]].append(
                {
                    "policy": statement.policy,
                    "sid": statement.name,
                    "effect": "Allow" if statement.allows else "Deny",
                    "allowed": allowed,
                    "only_here": alone,
                    "unused_actions": [action for action in statement.actions if action.lower() not in done],
                }
            )
    return {"roles": shown, "refused": kept.refused()}
