"""What the Ray Serve image's entry point does, on 127.0.0.1: Ray, its HTTP proxy, then `serve run config.yaml`.

    python start.py <config.yaml> <port> <folder for Ray's own files>

Ends on SIGINT.
"""

import sys

import ray
from ray import serve
from ray.serve.scripts import cli

config, port, folder = sys.argv[1:]
ray.init(include_dashboard=False, num_gpus=0, _temp_dir=folder)
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
cli(["run", config])
