"""serve.py's endpoint as a Ray Serve application, for AWS's Ray Serve image: `app`, which config.yaml names.

What that image does, read from its published sources (aws/deep-learning-containers, scripts/docker/ray and docs):

- With the archive at /opt/ml/model, it puts that folder on PYTHONPATH (some releases its code/ too), installs
  code/requirements.txt with pip and ends if that fails, then starts Ray and `serve run /opt/ml/model/config.yaml`, or
  SM_RAYSERVE_APP where there is no config.yaml. Hence this file and config.yaml lie at the archive's root.
- Its adapter on port 8080 posts what /invocations gets to RAYSERVE_BACKEND_URL + "/" (default http://127.0.0.1:8000):
  the body, Content-Type, Accept and X-Amzn-SageMaker-* headers. Status and body go back, other headers do not, so
  Retry-After ends there. No answer for RAYSERVE_BACKEND_TIMEOUT (300 s) is its own 504.
- Its /ping asks RAYSERVE_BACKEND_URL + "/-/healthz" for at most 5 s. Ray's proxy answers that itself, with 200 once the
  route exists and before a replica has loaded the model; early requests then wait for the replica. With
  RAYSERVE_BACKEND_URL=http://127.0.0.1:8000/replica the same two requests reach this application, and /ping says yes
  only when the model is warm.

Unverified, for want of the image: that release v1.4 is built from those sources; how its containers end (by its entry
point, Ray gets no SIGTERM); Python 3.13 (tried with 3.11, and the image's Ray and torch: make test-ray).
"""

import os
import sys
from pathlib import Path
from typing import Any

from ray import serve as ray_serve

HERE = Path(__file__).resolve().parent
# The rest lies beside this file in the repository and in code/ in the archive.
sys.path[:0] = [str(folder) for folder in (HERE, HERE / "code") if (folder / "serve.py").is_file()]

# Far more than serve.py's own queue holds: a full queue is answered there, as JSON, and /ping never has to wait.
MAX_ONGOING_REQUESTS = 500
# Requests that may wait in Ray's proxy while no replica is up yet.
MAX_QUEUED_REQUESTS = 100


def endpoint() -> Any:
    """The ASGI application of one replica, loaded and warm. The adapter knows two requests: GET asks for health, POST
    for an answer, whatever the path."""
    use_all_cores()
    import serve  # torch comes with it, and only a replica needs that
    from breeds.serving import inference, service

    limits = serve.Limits.from_environment(os.environ)
    predictor = inference.load(Path(os.environ.get("SM_MODEL_DIR", HERE)))
    predictor.warm_up()
    web = serve.create_app(service.Service(predictor), predictor.network.workers, limits)

    async def route(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = "/ping" if scope["method"] == "GET" else "/invocations"
            scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await web(scope, receive, send)

    return route


def use_all_cores() -> None:
    """Ray allows each actor one OpenMP thread; the one replica here may use the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = str(cores)
    import torch

    torch.set_num_threads(cores)


deployment = ray_serve.deployment(
    name="Breeds", max_ongoing_requests=MAX_ONGOING_REQUESTS, max_queued_requests=MAX_QUEUED_REQUESTS
)
app = deployment(ray_serve.ingress(endpoint)()).bind()
