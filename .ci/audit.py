"""Ask the OSV database of advisories about every package of the lock files: `make audit`.

    python .ci/audit.py [--if-reachable] LOCK...

A control goes with each question: a version that is known to be vulnerable. Where nothing is known of that one, the
answer says nothing of the others either, and is no pass. Exit codes: 0 nothing found, 1 advisories found, 2 the answer
cannot be trusted, 3 no answer (0 with --if-reachable, for CI without a network; the warning stays).

Source: https://google.github.io/osv.dev/post-v1-querybatch/
"""

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DATABASE = "https://api.osv.dev/v1/querybatch"
CONTROL = ("pillow", "9.0.0")
MOST_AT_A_TIME = 1000
SECONDS = 30

# Advisories that are known and stay, each with the reason.
_SMDEBUG = "protobuf 3.20.3 is the newest that smdebug reads with; it reads tensors of our own trainings alone"
ACCEPTED = {
    "GHSA-8qvm-5x2c-j2w7": _SMDEBUG,
    "GHSA-7gcm-g887-7qv7": f"{_SMDEBUG}, and no JSON",
}

Package = tuple[str, str]  # name, version


class Blind(Exception):
    """An answer that cannot be trusted."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("locks", nargs="+", type=Path)
    parser.add_argument("--if-reachable", action="store_true", help="no answer of the database is no failure")
    given = parser.parse_args()
    where: dict[Package, list[str]] = {}
    for lock in given.locks:
        for package in locked(lock):
            where.setdefault(package, []).append(str(lock))
    try:
        found = advisories([*where, CONTROL])
    except OSError as error:
        print(f"NOT AUDITED: the database of advisories gave no answer ({error}). This is no pass.", file=sys.stderr)
        return 0 if given.if_reachable else 3
    except Blind as reason:
        print(f"The audit cannot see: {reason}", file=sys.stderr)
        return 2
    return report(where, found)


def locked(lock: Path) -> list[Package]:
    return re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)


def advisories(packages: list[Package]) -> dict[Package, set[str]]:
    """Ids by package. Raises Blind, and OSError where there is no answer."""
    found: dict[Package, set[str]] = {package: set() for package in packages}
    questions: list[tuple[Package, str]] = [(package, "") for package in packages]
    while questions:
        now, questions = questions[:MOST_AT_A_TIME], questions[MOST_AT_A_TIME:]
        for (package, _), result in zip(now, ask(now), strict=True):
            found[package] |= {advisory["id"] for advisory in result.get("vulns", [])}
            if page := result.get("next_page_token"):
                questions.append((package, page))
    if not found[CONTROL]:
        raise Blind(f"it knows of nothing in {'=='.join(CONTROL)}, which has known vulnerabilities.")
    return found


def ask(questions: list[tuple[Package, str]]) -> list[dict[str, Any]]:
    """A result for each question (package, token of a further page)."""
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version, **({"page_token": page} if page else {})}
        for (name, version), page in questions
    ]
    request = urllib.request.Request(
        os.environ.get("OSV_URL", DATABASE),
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        body = answer.read()
    try:
        results = json.loads(body)["results"]
        if len(results) != len(queries) or not all(isinstance(result, dict) for result in results):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise Blind(f"its answer is not one result for each of {len(queries)} packages: {body[:100]!r}") from None
    return results


def report(where: dict[Package, list[str]], found: dict[Package, set[str]]) -> int:
    known = {advisory for package in where for advisory in found[package]}
    open_ones = 0
    for package, locks in sorted(where.items()):
        for advisory in sorted(found[package] - set(ACCEPTED)):
            open_ones += 1
            print(
                f"{'=='.join(package)} has {advisory} (in {', '.join(locks)}): https://osv.dev/vulnerability/{advisory}"
            )
    for advisory in sorted(set(ACCEPTED) & known):
        print(f"accepted: {advisory}: {ACCEPTED[advisory]}")
    for advisory in sorted(set(ACCEPTED) - known):
        print(f"no longer found, so no longer to be accepted in {Path(__file__).name}: {advisory}")
    print(f"{len(where)} packages asked about, {open_ones} advisories; the control was found.")
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main())
