"""Drives the predict function through every kind of failure, with all that can be logged turned on: DEBUG for every
library, Powertools' own switches, traces. `python every_failure.py FOLDER`; prints one JSON line of outcomes last.

What a log must not hold is marked: URLs carry `secret-path` or `?token=secret-token`, pictures are `jpeg()`.
"""

import base64
import functools
import json
import logging
import os
import sys
from pathlib import Path

logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "lambda" / "predict")]

import guard  # noqa: E402
import handler  # noqa: E402
from endpoint_server import EndpointServer  # noqa: E402
from hostile_list import HOSTILE_SERVERS, NAMES_THAT_MEAN_THIS_MACHINE, REFUSED_BY_SPELLING  # noqa: E402
from hostile_servers import HOST, ScriptedServer, TestNetwork, answer, certificate  # noqa: E402
from lambda_support import LambdaContext, picture_bytes  # noqa: E402


def jpeg() -> bytes:
    return picture_bytes(size=(97, 61))


def events() -> list[object]:
    """Direct and HTTP events, each of which fails in another way; the last two succeed."""
    image = base64.b64encode(jpeg()).decode()
    urls = [f"https://{HOST}/{name.replace(' ', '%20')}?token=secret-token" for name in HOSTILE_SERVERS]
    urls += [url + "secret-path" for url in REFUSED_BY_SPELLING]
    urls += [f"https://{host}/secret-path" for host in ("169.254.169.254", "localhost", "nobody.example")]
    bodies = [image, f'{{"image": "{image}"', f'{{"image": "data:{image}"}}', f'{{"photo": "{image}"}}']
    return [
        *({"url": url} for url in urls),
        *({"requestContext": {}, "httpMethod": "POST", "body": body} for body in bodies),
        {"requestContext": {}, "httpMethod": "GET", "queryStringParameters": {"url": "https://x/secret-path"}},
        {"image": base64.b64encode(jpeg()[:40]).decode()},
        {"image": image + "*"},
        image,
        {"url": f"https://{HOST}/good?token=secret-token"},
        {"image": image},
    ]


def main() -> None:
    endpoint = EndpointServer()
    os.environ |= {"AWS_ENDPOINT_URL": endpoint.url, "ENDPOINT_NAME": "dogs"}
    server_side, trust = certificate(Path(sys.argv[1]), HOST)
    scripts = {f"/{name.replace(' ', '%20')}": script for name, (script, _) in HOSTILE_SERVERS.items()}
    server = ScriptedServer(scripts | {"/good": answer(jpeg())}, server_side)
    net = TestNetwork(server, server, trust)
    net.names |= NAMES_THAT_MEAN_THIS_MACHINE
    fetch = functools.partial(guard.fetch, network=net.network)
    handler.fetch = lambda url, **more: fetch(url, **more | {"seconds": 0.2})

    codes = [outcome(event) for event in events()]
    for status, code in [(424, "ModelError"), (400, "ValidationError"), (503, "ServiceUnavailable"), (500, "Odd")]:
        endpoint.fails(status, code, OriginalStatusCode=500)
        codes.append(outcome(events()[-1]))
    endpoint.answers = [(200, b"no JSON", {})]
    codes.append(outcome(events()[-1]))
    endpoint.breaks_off = 2
    codes.append(outcome(events()[-1]))
    handler.classify = lambda picture, *_: exec(f"raise ValueError({picture.data[:200]!r}, 'secret-token')")
    codes.append(outcome(events()[-1]))
    handler.check_picture = lambda data: data.decode("ascii")
    codes.append(outcome(events()[-1]))
    print(json.dumps({"codes": codes}))


def outcome(event: object) -> str:
    reply = handler.lambda_handler(event, LambdaContext())
    content = json.loads(reply["body"]) if "body" in reply else reply
    return content["error"]["code"] if "error" in content else "answered"


if __name__ == "__main__":
    main()
