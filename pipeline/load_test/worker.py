"""The requests of a load test, in a process of their own: `python -m pipeline.load_test.worker < plan.json`.

locust changes the standard library's sockets and threads when it is imported, which nothing else of the project should
see. boto3 is used as everybody uses it: one client, a connection per user, no retries, so that an error is an error.

Lines of JSON come out: {"tick": …} every second, {"phase": …} when a phase has ended, {"stopped": reason} when the test
ended early. SIGTERM ends it; what was measured until then is written.

One process signs and sends about 1,700 requests a second at most (a core of a Zen 4; measured against a server
that answers at once). Each phase says how busy this process was: a client that is busy all the time measures itself.
"""

from __future__ import annotations

# isort: split
from locust import User, constant, constant_throughput, task  # before boto3: the sockets must be changed first
from locust.env import Environment

# isort: split
import base64
import json
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import gevent
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from gevent.event import Event

from pipeline.load_test.measured import Measured

TICK_SECONDS = 1.0
READ_SECONDS = 65.0  # SageMaker gives a model 60 s
ERROR_PAUSE_SECONDS = 0.1  # a user that is refused does not ask again at once
GONE_SECONDS = 3.0  # nothing but failed connections for so long: the server is gone
FINISH_SECONDS = 5.0  # what is under way at the end may finish


class Refused(Exception):
    """The function answered, and its answer is an error."""


class Test:
    """Phases one after another against one target; `plan` is a Plan of pipeline.load_test.plan, as JSON."""

    def __init__(self, plan: dict[str, Any]):
        self.plan = plan
        self.call = caller(plan)
        self.phase = self.tick = Measured(0)
        self.sent = 0
        self.last_contact = time.perf_counter()
        self.last_error = ""
        self.stopped = Event()
        self.reason = ""

    def run(self) -> None:
        """Warm up, run the phases, write what they measured."""
        gevent.signal_handler(signal.SIGTERM, self.stop, "interrupted")
        self._phase({"users": 1, "seconds": self.plan["warm_up_seconds"]}, counted=False)
        for phase in self.plan["phases"]:
            if not self.stopped.is_set():
                self._phase(phase, counted=True)
        if self.reason:
            say(stopped=self.reason, error=self.last_error)

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.stopped.set()

    def request(self) -> None:
        """One request of one user, noted."""
        if self.sent >= self.plan["max_requests"]:
            return self.stop("enough")
        self.sent += 1
        began = time.perf_counter()
        try:
            self.call()
        except Exception as problem:  # whatever it is, it is counted and shown
            code = code_of(problem)
            self.last_error = f"{code}: {problem}"[:500]
            if not isinstance(problem, ConnectionError | HTTPClientError):
                self.last_contact = time.perf_counter()
            for measured in (self.phase, self.tick):
                measured.errors[code] += 1
            gevent.sleep(ERROR_PAUSE_SECONDS)
        else:
            self.last_contact = time.perf_counter()
            for measured in (self.phase, self.tick):
                measured.milliseconds.append((self.last_contact - began) * 1000)

    def _phase(self, phase: dict[str, Any], *, counted: bool) -> None:
        users, rate = phase["users"], phase.get("requests_per_second")
        environment = Environment(user_classes=[user_class(self, users, rate)])
        environment.stop_timeout = FINISH_SECONDS
        runner = environment.create_local_runner()
        self.phase, self.tick = Measured(users), Measured(users)
        runner.start(users, spawn_rate=max(users, 1))
        ends = self.phase.began + phase["seconds"]
        while not self.stopped.is_set() and (left := ends - time.perf_counter()) > 0:
            self.stopped.wait(min(TICK_SECONDS, left))
            if counted:
                say(tick=self.tick.summary())
            self.tick = Measured(users)
            if time.perf_counter() - self.last_contact > GONE_SECONDS and self.phase.errors:
                self.stop("gone")
        if counted:
            say(phase=self.phase.summary())
        runner.quit()


def user_class(test: Test, users: int, requests_per_second: float | None) -> type[User]:
    """A user that asks again as soon as it has its answer; or one of `users` that share a rate, one after another."""
    turn = count()

    class Asking(User):
        wait_time = constant_throughput(requests_per_second / users) if requests_per_second else constant(0)

        def on_start(self) -> None:
            if requests_per_second:
                gevent.sleep(next(turn) / requests_per_second)  # together they would come in bursts

        @task
        def ask(self) -> None:
            test.request()

    return Asking


def caller(plan: dict[str, Any]) -> Any:
    """A function that sends the plan's photo once. It raises ClientError, BotoCoreError, or Refused."""
    photo = Path(plan["photo"]).read_bytes()
    most = max(phase["users"] for phase in plan["phases"])
    config = Config(
        max_pool_connections=most, retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=READ_SECONDS
    )
    if plan["target"] == "function":
        functions = boto3.client("lambda", config=config)
        payload = json.dumps({"image": base64.b64encode(photo).decode()}).encode()

        def ask_function() -> None:
            answer = functions.invoke(FunctionName=plan["name"], Payload=payload)
            body = json.loads(answer["Payload"].read())
            if "FunctionError" in answer:
                raise Refused(answer["FunctionError"], body.get("errorMessage", ""))
            if "error" in body:
                raise Refused(body["error"]["code"], body["error"]["message"])

        return ask_function
    runtime = boto3.client("sagemaker-runtime", config=config)
    request = {"EndpointName": plan["name"], "Body": photo, "ContentType": plan["content_type"]}

    def ask_endpoint() -> None:
        runtime.invoke_endpoint(**request)["Body"].read()

    return ask_endpoint


def code_of(problem: Exception) -> str:
    """What an error is counted as: AWS's code, with the model's own status; or the exception's name."""
    if isinstance(problem, ClientError):
        code = problem.response["Error"]["Code"]
        status = problem.response.get("OriginalStatusCode")
        return f"{code} {status}" if status else code
    return str(problem.args[0]) if isinstance(problem, Refused) else type(problem).__name__


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    try:
        Test(json.load(sys.stdin)).run()
    except BrokenPipeError:
        sys.exit(1)  # nobody listens any more


if __name__ == "__main__":
    main()
