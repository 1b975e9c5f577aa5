"""Users' regular expressions: the same answers as Python's, in linear time or with a deadline."""

import random
import re
import time
import urllib.request

import pytest

from benchmarks.archives import tar_gz
from sagelocal.core.patterns import Expression, InvalidExpression, Several, TooSlow, Worker
from sagelocal.services.sagemaker.jobs import metrics

# Short ones: Python, which is asked too, backtracks.
TEXTS = [
    "",
    "loss=0.2;",
    "größe=3",
    "٣٤ ½ ² x_",
    "a\u00a0b\tc\x1fd",
    "aab b\n",
    "K\u212a \u017f ß",
    "a]-^\r",
    "d\n\u2028e",
]
PARTS = [
    *(r"a", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r".", r"[ab=]", r"[^a]", r"[^\S\n]", r"[\W\d]", r"[^\s=;]"),
    *(r"é", r"ß", r"(?i:k)", r"(?i:[a-f])", r"\b", r"^", r"$", r"\A", r"\Z", r"(?m:$)", r"(?s:.)", r"[\]\-^]", r"="),
    *(r"(?a:\w)", r"x(?=x)", r"(?<!a)b", r"[^\W\d]", r"\B", r"\N{LATIN SMALL LETTER A}", r"\u0061", r"loss"),
]
COUNTS = ["", "", "*", "+", "?", "*?", "+?", "{1,2}", "{,3}"]


@pytest.fixture(scope="module")
def worker():
    made = Worker()
    yield made
    made.stop()


def expressions(count: int) -> list[str]:
    chosen = random.Random(13)

    def one(depth: int = 0) -> str:
        parts = []
        for _ in range(chosen.randint(1, 4)):
            part = chosen.choice(PARTS)
            if depth < 2 and chosen.random() < 0.3:
                part = chosen.choice(["({})", "(?:{})", "({}|b)", "(?:a|{})"]).format(one(depth + 1))
            parts.append(part + chosen.choice(COUNTS))
        return "".join(parts)

    return [one() for _ in range(count)]


@pytest.mark.parametrize("whole", [False, True])
def test_an_expression_finds_what_python_finds(worker, whole):
    for text in expressions(800):
        try:
            python = re.compile(text)
        except re.error:
            continue
        expression = Expression(text, whole)
        if expression.linear is None:
            continue
        for line in TEXTS:
            match = python.fullmatch(line) if whole else python.search(line)
            expected = (match[0], *match.groups()) if match else None
            if expression.encoded(line) is not None:
                assert expression.search(line, worker) == expected, (text, line)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (r"loss=(\d+)", "loss=٣٤", ("loss=٣٤", "٣٤")),
        (r"(\w+)=", "größe=3", ("größe=", "größe")),
        (r"\bgr(\w+)", "ungroß groß", ("groß", "oß")),
        (r"(x)$", "x\n", ("x", "x")),
        (r"(x)\Z", "x\n", None),
        (r"a{,3}(b)", "aab", ("aab", "b")),
        (r"(a*)+", "b", ("", "")),
        (r"loss=(?=\d)(\S+)", "loss=x loss=1", ("loss=1", "1")),
        (r"(a)\1", "baa", ("aa", "a")),
        (r"(?x) acc = ([\d.]+)  # a comment", "acc=0.5", ("acc=0.5", "0.5")),
        (r"(?i)LOSS=(k)", "loss=\u212a", ("loss=\u212a", "\u212a")),
        (r"a{1001}(b)", "a" * 1001 + "b", ("a" * 1001 + "b", "b")),
        ("(\udc80)", "x\udc80", ("\udc80", "\udc80")),
    ],
)
def test_what_re2_reads_otherwise_is_answered_as_python_answers(worker, text, line, expected):
    assert Expression(text).search(line, worker) == expected


@pytest.mark.parametrize("text", ["(", r"(?P<a>x)(?P<a>y)", "a{99999999999}", "(" * 5000 + ")" * 5000, r"(?<v>x)"])
def test_what_python_does_not_compile_is_no_expression(text):
    with pytest.raises(InvalidExpression):
        Expression(text)


CATASTROPHIC = [
    *(
        r"loss=((a+)+)$",
        r"(x+x+)+y()",
        r"(?:(a|aa)+)$",
        r".*loss=(.*?);.*x",
        r".*loss=(\S+);",
        r"(.*)loss=(.*), val=(.*)",
    ),
    *(r"(?=(a+)+$)(b)", r"(a|b|ab)*\1c", r"((a*)*)*b", r"(\w+\s?)*:(\d)(?!x)"),
]


@pytest.mark.parametrize("text", CATASTROPHIC)
def test_a_catastrophic_expression_answers_or_is_ended(worker, text):
    for line in ("loss=" + "a" * 60 + "!", "loss=1;" * 9000, "ab" * 5000, "x" * 40):
        begin = time.monotonic()
        try:
            Expression(text).search(line, worker)
        except TooSlow:
            assert Expression(text).encoded(line) is None
        assert time.monotonic() - begin < 10


def test_the_process_works_again_after_it_was_ended(worker):
    with pytest.raises(TooSlow, match="100 ms"):
        Expression(r"(?=((a+)+)$)").search("a" * 60 + "!", worker)
    assert Expression(r"(?=(a+))").search("aab", worker) == ("", "aa")


def test_one_pass_over_a_line_names_all_that_match():
    all_of_them = [Expression(text) for text in (r"loss=(\d+)", r"acc=(\d+)", r"(?=z)(z)", r"\bgr(.)", r"never(x)")]
    several = Several(all_of_them)
    assert several.possible("loss=1") == [all_of_them[2], all_of_them[0]]
    assert several.possible("größe acc=2") == [all_of_them[2], all_of_them[1], all_of_them[3]]
    assert Several([]).possible("x") == []


def test_a_metric_that_is_too_slow_is_off_and_the_others_go_on(worker):
    wanted = [{"Name": "slow", "Regex": r"(?=((a+)+)$)(b)"}, {"Name": "loss", "Regex": r"loss=([0-9.]+)"}]
    collector = metrics.Collector(metrics.definitions(wanted), worker)
    said = [text for line in ("loss=1 " + "a" * 60 + "!", "loss=2 " + "a" * 60 + "!") for text in collector.read(line)]
    assert len(said) == 1 and "Metric slow is off" in said[0]
    assert [(m["MetricName"], m["Value"]) for m in collector.final()] == [("loss", 2.0)]


TRAIN = b"for _ in range(5):\n    print('loss=' + 'a' * 60 + '!')\n    print('loss=1;' * 9000)\n"


def test_the_server_answers_while_twenty_catastrophic_expressions_run(server, client):
    client("s3").create_bucket(Bucket="patterns")
    client("s3").put_object(Bucket="patterns", Key="src.tar.gz", Body=tar_gz({"train.py": TRAIN}))
    regexes = [*CATASTROPHIC, r"(?=((a+)+)$)", *(rf"{text}{n}|(never)" for n, text in enumerate(CATASTROPHIC, 1))]
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312-ubuntu22.04-sagemaker"
    metrics = [{"Name": f"m{n}", "Regex": regex} for n, regex in enumerate(regexes)]
    assert len(metrics) >= 20
    client("sagemaker").create_training_job(
        TrainingJobName="patterns",
        RoleArn="arn:aws:iam::123456789012:role/any",
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File", "MetricDefinitions": metrics},
        OutputDataConfig={"S3OutputPath": "s3://patterns/out"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 300},
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://patterns/src.tar.gz"},
    )
    slowest = 0.0
    while True:
        begin = time.monotonic()
        with urllib.request.urlopen(f"{server.url}/_sagelocal/health", timeout=30) as answer:
            assert answer.status == 200
        slowest = max(slowest, time.monotonic() - begin)
        job = client("sagemaker").describe_training_job(TrainingJobName="patterns")
        if job["TrainingJobStatus"] != "InProgress":
            break
        time.sleep(0.02)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert slowest < 5  # Python's own engine does not come back at all


def test_without_re2_everything_is_answered_by_the_process(worker, monkeypatch):
    monkeypatch.setattr("sagelocal.core.patterns.re2", None)
    expression = Expression(r"an expression that no other test has (\d+)")
    assert expression.linear is None
    assert expression.search("an expression that no other test has 7", worker)[1] == "7"
    assert Several([expression]).possible("x") == [expression]
