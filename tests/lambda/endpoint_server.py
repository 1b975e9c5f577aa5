"""An endpoint that speaks InvokeEndpoint's wire protocol on 127.0.0.1 and answers by a script."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {
    "predictions": [
        {"breed": breed, "probability": probability}
        for breed, probability in [
            ("beagle", 0.8),
            ("basset", 0.1),
            ("boxer", 0.05),
            ("briard", 0.03),
            ("borzoi", 0.02),
        ]
    ],
    "model": {"backbone": "mobilenet_v2"},
}


class EndpointServer:
    """`answers`: (status, content, headers) for the requests to come; the last one stays. `delay`: seconds before
    each. `breaks_off`: how many connections are closed before that. `requests`: (path, content type, body) of each."""

    def __init__(self) -> None:
        self.answers = [(200, ANSWER, {})]
        self.delay = 0.0
        self.breaks_off = 0
        self.requests: list[tuple[str, str, bytes]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.requests.append((self.path, self.headers["Content-Type"], body))
                if endpoint.breaks_off > 0:
                    endpoint.breaks_off -= 1
                    return self.connection.close()
                time.sleep(endpoint.delay)
                answers = endpoint.answers
                status, content, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                payload = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    for name, value in ({"Content-Type": "application/json"} | headers).items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(payload)))
                    self.end_headers()
                    self.wfile.write(payload)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def fails(self, status: int, code: str, **content: object) -> None:
        self.answers = [(status, {"Message": "secret-detail", **content}, {"x-amzn-errortype": code})]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
