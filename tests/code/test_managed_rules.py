"""The verdict of rules that SageMaker evaluates: what DescribeTrainingJob says, never a pass that it did not give."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from breeds.debugger import managed_rules

NAMES = ("Overfit", "Overtraining")


@pytest.fixture
def sagemaker(monkeypatch):
    """sagemaker([answer, …]): a SageMaker that gives these answers to DescribeTrainingJob, the last one for ever."""
    servers = []

    def start(answers: list[tuple[int, dict]]):
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                code, answer = left.pop(0) if len(left) > 1 else left[0]
                body = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        return left

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def answer(**states: str) -> tuple[int, dict]:
    statuses = [
        {"RuleConfigurationName": name, "RuleEvaluationStatus": state, "StatusDetails": f"about {name}"}
        for name, state in states.items()
    ]
    return 200, {"TrainingJobName": "job", "DebugRuleEvaluationStatuses": statuses}


def test_rules_are_asked_for_by_name_until_all_are_final(sagemaker):
    left = sagemaker(
        [
            answer(Overfit="InProgress", Overtraining="NoIssuesFound"),
            answer(Overtraining="NoIssuesFound", Overfit="InProgress"),
            answer(Overtraining="NoIssuesFound", Overfit="IssuesFound"),
        ]
    )
    found = managed_rules.wait("job", NAMES)
    assert found == {
        "Overfit": ("IssuesFound", "about Overfit"),
        "Overtraining": ("NoIssuesFound", "about Overtraining"),
    }
    assert len(left) == 1


@pytest.mark.parametrize(
    ("state", "expected", "words"),
    [
        ("Error", "Error", "about Overfit"),
        ("Stopped", "Stopped", "about Overfit"),
        ("InProgress", "Error", "SageMaker had not finished: InProgress"),
        ("Stopping", "Error", "SageMaker had not finished: Stopping"),
    ],
)
def test_a_rule_without_a_verdict_is_no_pass(sagemaker, state, expected, words):
    sagemaker([answer(Overfit=state, Overtraining="NoIssuesFound")])
    found = managed_rules.wait("job", NAMES, patience=0.2)
    assert found["Overfit"][0] == expected and words in found["Overfit"][1]
    assert found["Overtraining"][0] == "NoIssuesFound"


def test_a_rule_that_sagemaker_does_not_name_is_an_error(sagemaker):
    sagemaker([answer(Overtraining="NoIssuesFound")])
    state, details = managed_rules.wait("job", NAMES)["Overfit"]
    assert state == "Error" and "no verdict of Overfit on job" in details


def test_a_refused_question_is_an_error_of_every_rule(sagemaker):
    sagemaker([(400, {"__type": "AccessDeniedException", "message": "not authorized"})])
    found = managed_rules.wait("job", NAMES)
    assert {state for state, _ in found.values()} == {"Error"}
    assert all("not authorized" in details for _, details in found.values())


def test_the_verdict_counts_a_stopped_rule_as_blocking(sagemaker, scripts, tmp_path):
    sagemaker([answer(Overfit="Stopped", Overtraining="NoIssuesFound")])
    debug = scripts("debug")
    others = [name for name in debug.rules.DEFAULT_RULES if name not in NAMES]
    verdict = debug.judge(tmp_path, ["Overfit", "Overtraining"], {}, NAMES, "job")
    states = {rule["RuleConfigurationName"]: rule["RuleEvaluationStatus"] for rule in verdict["rules"]}
    assert (states["Overfit"], states["Overtraining"]) == ("Stopped", "NoIssuesFound")
    assert {states[name] for name in others} == {"Error"}
    assert (verdict["verdict"], verdict["blocking"]) == ("Error", 1)
    assert "Overfit: about Overfit" in verdict["summary"]


def test_managed_rules_without_a_training_job_are_refused(script, tmp_path):
    done = script("debug", "--tensors", tmp_path, "--output", tmp_path / "out", "--managed-rules", "Overfit")
    assert done.returncode == 1
    assert "--managed-rules needs --training-job" in done.stderr
    assert not (tmp_path / "out" / "debug.json").exists()
