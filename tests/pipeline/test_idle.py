"""`pawline idle`: endpoints that nobody asks, against the embedded server with an endpoint that serves."""

import pytest

from pipeline import idle
from pipeline.cloud import Cloud
from tests.pipeline.stand_in import deploy
from tests.waiting import until

SERVE = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def cloud(bare: Cloud) -> Cloud:
    return bare


def test_endpoints_without_invocations_are_flagged_with_their_monthly_cost(cloud: Cloud):
    assert idle.idle(cloud, 1) == []
    deploy(cloud, "pawline", SERVE, instance_type="ml.m5.xlarge", count=2)
    deploy(cloud, "pawline-canary", SERVE)
    deploy(cloud, "somebody-elses", SERVE)
    young = idle.idle(cloud, 24)
    assert [entry["idle"] for entry in young] == [False, False]

    for _ in range(3):
        cloud.client("sagemaker-runtime").invoke_endpoint(EndpointName="pawline", Body=b"x")
    second = 1 / 3600

    def within(hours: float) -> dict[str, dict]:
        return {entry["endpoint"]: entry for entry in idle.idle(cloud, hours)}

    canary = until(lambda: within(second)["pawline-canary"], lambda entry: entry["idle"])
    found = within(600 * second)
    assert found["pawline"]["invocations"] == 3 and not found["pawline"]["idle"]
    assert canary["month"] == pytest.approx(0.115 * 730, abs=0.01)
    assert found["pawline"]["month"] == pytest.approx(2 * 0.23 * 730, abs=0.01)
    assert set(found) == {"pawline", "pawline-canary"}
    idle.show(idle.idle(cloud, second), second)
