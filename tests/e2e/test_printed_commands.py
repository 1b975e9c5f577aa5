"""Every command that a page, a help text or a message prints is tried, in the form in which it is printed.

Most are run: in a shell, in a folder like a checkout, on an embedded SageMaker with a finished run. What would need an
account, the internet or many minutes is checked word by word against what it calls; RULES says which and why.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from pipeline import hints
from sagelocal.core import lifecycle
from tests.e2e import printed, ways
from tests.e2e.commands import last_json
from tests.e2e.ways import Checkout


class Run(NamedTuple):
    """Run it. `code`: how it ends; `on`: the execution that EXECUTION stands for."""

    code: int = 0
    on: str = "succeeded"


class Check(NamedTuple):
    """Check its words only, and why only that."""

    way: Callable[[str], None]
    why: str


MINUTES = "trains for minutes what tests/e2e/test_main_job.py trains"
PERSON = "the AWS CLI is not part of this project"
STRANGER = "tests/sagelocal/test_install.py does it in a new environment"
PAGE = "tests/lambda/test_serving_doc.py runs it with what is around it on its page"

# A regular expression for the whole command -> the way in which it is tried. The first that fits counts; those that
# are run are run in this order, since some change what others see.
RULES: dict[str, Run | Check] = {
    r"\. \.venv/bin/activate": Run(),
    r"export AWS_.*": Run(),
    r"pawline --help": Run(),
    r"pawline lint": Run(),
    r"pawline cost": Run(),
    r"pawline upsert.*": Run(),  # before `run`, which makes its data the pipeline's defaults again
    r"pawline run": Run(),
    r"pawline run .+": Check(ways.parsed, MINUTES),
    r"pawline status.*": Run(),
    r"pawline logs .*": Run(),
    r"pawline debug .*": Run(),
    r"pawline predict .*--url .*": Run(2),  # the function may not fetch from this machine
    r"pawline predict .*": Run(),
    r"pawline cost --aws latest": Run(),
    r"pawline idle.*": Run(),
    r"pawline doctor.*": Run(),
    r"pawline schedule.*": Run(),
    r"pawline unschedule.*": Run(),
    r"pawline upload .*imagenet.*": Check(ways.parsed, "downloads ImageNet weights from the internet"),
    r"pawline upload.*": Run(),
    r"pawline deploy-infra( --local)?": Run(),
    r"pawline deploy-infra .+": Check(ways.parsed, "tests/pipeline/test_infra.py deploys with parameters"),
    r"pawline ec2-train --aws --dry-run": Run(),
    r"pawline ec2-train .*": Check(ways.parsed, "rents an instance; tests/pipeline/test_ec2.py"),
    r"pawline load-test.*": Check(ways.parsed, "a minute of load; tests/pipeline/test_load_test.py has shorter ones"),
    r"pawline cost --refresh --aws": Check(ways.parsed, "rewrites the price table; tests/pipeline/test_cost.py"),
    r"python code/debug\.py .*": Run(),
    r"python code/<script>\.py --help": Run(),
    r"pawline start": Run(),
    r"pawline start .*": Check(ways.parsed, MINUTES),
    r"pawline stop EXECUTION": Run(on="newest"),
    r"pawline retry.*": Run(1, on="failed"),  # what failed fails again
    r"sagelocal (up|status|env|logs|lint|images|doctor|prune|snapshot).*": Run(),
    r"sagelocal restore .*": Check(ways.shell_syntax, "tests/sagelocal/test_archive.py restores into a new directory"),
    r"eval \"\$\(sagelocal env\)\"": Run(),
    r"pip install \./sagelocal": Check(ways.shell_syntax, STRANGER),
    r"python mine\.py": Check(ways.shell_syntax, STRANGER),
    r"pawline destroy.* --keep-data": Run(),
    r"pawline destroy.*": Run(),
    r"pawline stop --server": Run(),
    r"sagelocal (down|reset).*": Run(),
    r"(PAWLINE_\S+ )?make .*": Check(ways.made, "builds the environment that this test runs in, or trains for minutes"),
    r"python -m benchmarks.*": Check(ways.python_options, "measures for minutes"),
    r"aws sso login": Check(ways.shell_syntax, PERSON),
    r"aws .*": Check(ways.aws_operation, PERSON),
    r"curl .*|printf .*": Check(ways.shell_syntax, PAGE),
    r"tensorboard .*": Check(ways.shell_syntax, "TensorBoard is not part of this project"),
}


def rule(command: str) -> tuple[int, Run | Check] | None:
    found = ((number, way) for number, (known, way) in enumerate(RULES.items()) if re.fullmatch(known, command))
    return next(found, None)


PRINTED = printed.printed()
TRIED = sorted((command for command in PRINTED if rule(command)), key=lambda command: rule(command)[0])
RUN = [command for command in TRIED if isinstance(rule(command)[1], Run)]
CHECKED = [command for command in TRIED if isinstance(rule(command)[1], Check)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout after one run on the drawn pictures, which are its photos too."""
    made = Checkout.make(tmp_path_factory.mktemp("checkout"))
    assert (made.folder / ".venv/bin/pawline").exists(), "there is no pawline beside this Python: make setup"
    made.values |= {"<script>": "prepare", "https://…": "https://127.0.0.1/dog.jpg"}
    try:
        report = last_json(made.run("pawline run --json"))
        assert report["status"] == "Succeeded"
        made.values["succeeded"] = report["execution_arn"].rpartition("/")[2]
        _get_data(made)
        yield made
    finally:
        made.run("pawline stop --server")


def _get_data(made: Checkout) -> None:
    """What was drawn, trained and run, under the names that the pages give to photos, tensors and a definition."""
    (drawn,) = made.folder.glob(".*/sample-dogs.zip")
    shutil.copyfile(drawn, made.folder / "dogImages.zip")
    shutil.unpack_archive(drawn, made.folder / "photos")
    shutil.copyfile(next((made.folder / "photos").glob("**/test/*/*.jpg")), made.folder / "dog.jpg")
    uploaded = last_json(made.run("pawline upload --data dogImages.zip --weights random --json"))
    made.values["InputDataUri=s3://…"] = f"InputDataUri={uploaded['input_data_uri']}"
    made.values["PretrainedWeightsUri=s3://…"] = f"PretrainedWeightsUri={uploaded['weights_uri']}"
    (made.folder / "definition.json").write_text(made.run("pawline definition").stdout)
    collections = sorted(made.folder.glob(".*/s3/*/*/tensors/**/collections/"))
    made.values["TENSORS"] = str(collections[-1].parent)


@pytest.fixture(scope="module")
def on_aws(checkout: Checkout) -> dict[str, str]:
    """An environment in which --aws means the embedded account."""
    (note,) = checkout.folder.glob(".*/server.json")
    return {**lifecycle.find(note.parent).environment(), "PAWLINE_EC2_AMI": "ami-12345678"}


@pytest.fixture(scope="module")
def failed(checkout: Checkout) -> str:
    """What an execution says that fails at once."""
    done = checkout.run("pawline start MaxBrokenFraction=0 --follow")
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_every_command_that_is_printed_has_a_rule():
    assert {command: where for command, where in PRINTED.items() if not rule(command)} == {}


def test_every_line_of_a_shell_block_is_a_command():
    assert printed.strange_lines() == []


@pytest.mark.parametrize("command", CHECKED)
def test_a_command_is_one_that_its_program_takes(command: str):
    rule(command)[1].way(command.replace("s3://…", "s3://bucket/folder/"))


@pytest.mark.parametrize("hint", hints.ALL, ids=lambda hint: hint.words)
@pytest.mark.parametrize("aws", [False, True], ids=["embedded", "aws"])
def test_a_hint_is_a_command_for_either_account(hint: hints.Hint, aws: bool):
    hints.act_on(aws=aws)
    try:
        ways.parsed(hint(**printed.FIELDS))
    finally:
        hints.act_on(aws=False)


@pytest.mark.parametrize("command", RUN)
def test_a_command_runs_as_it_is_printed(command: str, checkout: Checkout, request: pytest.FixtureRequest):
    way = rule(command)[1]
    if way.on == "failed":
        request.getfixturevalue("failed")
    checkout.values["EXECUTION"] = checkout.values["succeeded"] if way.on == "succeeded" else _newest(checkout)
    by_default = command.split()[1] in hints.AWS_BY_DEFAULT and "--local" not in command
    done = checkout.run(command, request.getfixturevalue("on_aws") if "--aws" in command or by_default else {})
    assert done.returncode == way.code, done.stdout + done.stderr


def _newest(checkout: Checkout) -> str:
    return last_json(checkout.run("pawline status --json"))["execution_arn"].rpartition("/")[2]
