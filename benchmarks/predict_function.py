"""The predict function: what its guard refuses and how fast, what its handler costs, how long a cold start takes."""

import base64
import contextlib
import functools
import io
import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles
from typing import Any

import boto3

from benchmarks.machine import print_table, spread
from pipeline.functions import LAMBDAS, package
from sagelocal.core import lifecycle

TESTS = Path(__file__).parent.parent / "tests" / "lambda"
INVOCATIONS = 2000
COLD_STARTS = 7
ROLE = "arn:aws:iam::123456789012:role/pawline-predict"
ACCOUNT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


def refusals() -> tuple[int, int, list[float]]:
    """(hostile, refused, seconds each took) with the function's own limits: 10 MB and 5 s."""
    import hostile_list as listed
    from errors import PredictError
    from guard import fetch
    from hostile_servers import HOST, ScriptedServer, TestNetwork, certificate

    with tempfile.TemporaryDirectory() as folder:
        tls, trust = certificate(Path(folder), HOST)
    scripts = {f"/{name.replace(' ', '%20')}": script for name, (script, _) in listed.HOSTILE_SERVERS.items()}
    server = ScriptedServer(scripts, tls)

    def network(names: dict[str, list[str]], server: ScriptedServer = server) -> Any:
        net = TestNetwork(server, server, trust)
        net.names |= names
        return net.network

    def handshake(script: Any) -> Any:
        return network({}, ScriptedServer({}, handshake=script))

    attacks = [(url, network({})) for url in listed.REFUSED_BY_SPELLING]
    attacks += [(url, network(listed.NAMES_THAT_MEAN_THIS_MACHINE)) for url in listed.HOSTS_THAT_MEAN_THIS_MACHINE]
    attacks += [(f"https://{HOST}/", network({HOST: [text]})) for text in listed.ADDRESSES_THAT_ARE_NOT_PUBLIC]
    attacks += [(f"https://{HOST}{path}", network(listed.NAMES_THAT_MEAN_THIS_MACHINE)) for path in scripts]
    attacks += [(f"https://{HOST}/", handshake(script)) for script, _ in listed.HOSTILE_HANDSHAKES.values()]

    def refused(attack: tuple[str, Any]) -> tuple[bool, float]:
        began = time.perf_counter()
        try:
            fetch(attack[0], network=attack[1])
        except PredictError:
            return True, time.perf_counter() - began
        return False, time.perf_counter() - began

    with ThreadPoolExecutor(24) as strangers:
        outcomes = list(strangers.map(refused, attacks))
    return len(attacks), sum(was for was, _ in outcomes), [took for _, took in outcomes]


def overhead(photo: bytes) -> tuple[list[float], list[float]]:
    """Milliseconds of the warm handler, endpoint and fetch answering at once: for an image sent, for a URL sent."""
    # What is logged goes nowhere, but it is written.
    with contextlib.redirect_stdout(open(os.devnull, "w")):
        import handler
        from guard import Picture
        from lambda_support import LambdaContext
        from pictures import check_picture

        os.environ |= ACCOUNT | {"ENDPOINT_NAME": "dogs"}
        predictions = [{"breed": f"breed {n}", "probability": 0.2} for n in range(5)]
        answer = json.dumps({"predictions": predictions, "model": {"backbone": "resnet50"}}).encode()
        handler.lambda_handler({"image": ""}, LambdaContext())
        budget = handler.Budget.of(30)

        class Endpoint:
            def invoke_endpoint(self, **_: Any) -> dict[str, Any]:
                return {"Body": io.BytesIO(answer)}

        handler._made["endpoint"] = Endpoint(), budget
        handler.fetch = lambda *_, **__: Picture(photo, check_picture(photo))
        return tuple(
            milliseconds(functools.partial(handler.lambda_handler, event, LambdaContext()))
            for event in ({"image": base64.b64encode(photo).decode()}, {"url": "https://dogs.example/dog.jpg"})
        )  # type: ignore[return-value]


def milliseconds(invoke: Any) -> list[float]:
    taken = []
    for _ in range(INVOCATIONS):
        began = time.perf_counter()
        reply = invoke()
        taken.append(1000 * (time.perf_counter() - began))
        assert reply["statusCode"] == 200, reply
    return taken


def cold_starts(photo: bytes) -> tuple[list[float], list[float]]:
    """Seconds on the embedded Lambda, from its REPORT lines: init, and the first request up to the endpoint."""
    inits, firsts = [], []
    event = json.dumps({"image": base64.b64encode(photo).decode()}).encode()
    with tempfile.TemporaryDirectory() as folder:
        server = lifecycle.ensure(Path(folder))
        functions = boto3.client("lambda", **server.client_settings())
        try:
            functions.create_function(
                FunctionName="predict",
                Runtime="python3.12",
                Role=ROLE,
                Handler="handler.lambda_handler",
                Code={"ZipFile": package(LAMBDAS / "predict")},
                Timeout=30,
                MemorySize=512,
            )
            for number in range(COLD_STARTS):
                variables = {"ENDPOINT_NAME": "none", "START": str(number)}
                functions.update_function_configuration(FunctionName="predict", Environment={"Variables": variables})
                reply = functions.invoke(FunctionName="predict", Payload=event, LogType="Tail")
                report = base64.b64decode(reply["LogResult"]).decode()
                inits.append(_reported("Init Duration", report))
                firsts.append(_reported("\tDuration", report))
        finally:
            lifecycle.stop(Path(folder))
    return inits, firsts


def _reported(name: str, report: str) -> float:
    found = re.search(rf"{name}: ([0-9.]+) ms", report)
    assert found, report
    return float(found[1]) / 1000


def percentiles(values: list[float]) -> str:
    cuts = quantiles(values, n=100)
    return f"p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms (n={len(values)})"


def main() -> None:
    sys.path[:0] = [str(TESTS), str(LAMBDAS / "predict")]
    from lambda_support import picture_bytes

    os.environ |= ACCOUNT
    photo = picture_bytes(size=(500, 375)).ljust(31 * 1024, b"\0")
    by_image, by_url = overhead(photo)
    inits, firsts = cold_starts(photo)
    hostile, refused, seconds = refusals()
    print_table(
        "Predict function",
        [
            ("hostile URLs, addresses, servers and handshakes refused", f"{refused} of {hostile}", "all, at least 60"),
            ("slowest refusal", f"{max(seconds):.2f} s", "5 s and a moment"),
            ("warm handler without endpoint, an image of 31 KB", percentiles(by_image), "p50 under 5 ms"),
            ("warm handler without endpoint and fetch, a URL", percentiles(by_url), "p50 under 5 ms"),
            ("cold start on the embedded Lambda", spread(inits), "under 1 s"),
            ("first request after it, without the model", spread(firsts), "—"),
        ],
    )


if __name__ == "__main__":
    main()
