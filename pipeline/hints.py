"""The commands that messages tell the user to run, each written once here; tests run them all.

A hint names this program as it was called, and the account that the running command acts on, so that it runs as it is
printed: `pawline retry 3f…`, or `.venv/bin/pawline retry 3f… --aws`.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

ALL: list["Hint"] = []
AWS_BY_DEFAULT = ("deploy-infra", "upsert")  # all others act on the embedded SageMaker unless they are told --aws

_on_aws = False


def act_on(*, aws: bool) -> None:
    """Say which account the hints of this process are about."""
    global _on_aws
    _on_aws = aws


class Hint:
    """A command with fields in its words: `Hint("retry {execution}")`. Called with them, or as text, it can be run."""

    def __init__(self, words: str, *, on_aws: bool = False) -> None:
        self.words = words
        self.on_aws = on_aws  # it makes sense in an AWS account only
        ALL.append(self)

    def __call__(self, **values: object) -> str:
        words = self.words.format(**{name: shlex.quote(str(value)) for name, value in values.items()})
        aws = self.on_aws or _on_aws
        by_default = self.words.split()[0] in AWS_BY_DEFAULT
        option = "" if aws == by_default else " --aws" if aws else " --local"
        return f"{program()} {words}{option}"

    def __str__(self) -> str:
        return self()


def program() -> str:
    """How this program was called, as short as a shell finds it from here."""
    called = Path(sys.argv[0])
    if called.name == "pawline":
        return _from_here(called)
    if called.parts[-2:] == ("pipeline", "__main__.py"):
        return f"{_from_here(Path(sys.executable))} -m pipeline"
    return "pawline"  # in a notebook, say


def _from_here(called: Path) -> str:
    if shutil.which(called.name) == str(called.absolute()):
        return called.name
    relative = os.path.relpath(called)
    if os.sep not in relative:
        relative = os.path.join(os.curdir, relative)
    return shlex.quote(str(called) if relative.startswith(os.pardir) else relative)


RUN = Hint("run")
RUN_WITH_TARGET = Hint("run TargetInvocationsPerInstance={target}")
RUN_WITH_MORE_INSTANCES = Hint("run EndpointMaxInstances={most}")
UPLOAD_DATA = Hint("upload --data {data}")
UPLOAD_WEIGHTS = Hint("upload --weights {weights}")
UPSERT = Hint("upsert")
START = Hint("start")
STATUS = Hint("status")
STATUS_OF = Hint("status {execution}")
FOLLOW_OF = Hint("status {execution} --follow")
LOGS = Hint("logs {step} {execution}")
STOP_OF = Hint("stop {execution}")
RETRY = Hint("retry")
RETRY_OF = Hint("retry {execution}")
PREDICT_FILE = Hint("predict --file {file}")
PREDICT_URL = Hint("predict --url {url}")
LOAD_TEST_ENDPOINT = Hint("load-test --endpoint {endpoint}")
LOAD_TEST_PHOTO = Hint("load-test --photo {photo}")
SCHEDULE = Hint("schedule {cron} --timezone {timezone}")
DEPLOY_INFRA = Hint("deploy-infra")
DESTROY = Hint("destroy")
DESTROY_BUT_DATA = Hint("destroy --keep-data")
REFRESH_PRICES = Hint("cost --refresh", on_aws=True)
