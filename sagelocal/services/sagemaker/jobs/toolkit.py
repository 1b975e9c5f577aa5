"""What the SageMaker training toolkit does inside a training image: script mode, SM_* variables, torchrun.

Source: the sagemaker-training-toolkit package (environment.py, mapping.py, torch_distributed.py).
"""

import json
import os
import sys
from functools import cache
from typing import Any

from sagelocal.core.json import Json, read

MASTER_ADDRESS = "127.0.0.1"  # every host of a job is a process of this machine
NETWORK_INTERFACE = "lo" if sys.platform == "linux" else "lo0"
CODE = "/opt/ml/code"

# Hyperparameters of the toolkit itself; others that begin with sagemaker_ are framework parameters.
OWN_PARAMETERS = {
    *("sagemaker_program", "sagemaker_submit_directory", "sagemaker_container_log_level", "sagemaker_job_name"),
    *("sagemaker_region", "sagemaker_s3_output", "sagemaker_default_invocations_accept", "sagemaker_user_entry_point"),
}
PREFIX = "sagemaker_"
TUNING_PREFIX = "_tuning_"


def decoded(hyperparameters: dict[str, str]) -> Json:
    """Hyperparameters as the toolkit reads them: each value as JSON, or as the text it is."""
    values = {}
    for name, text in hyperparameters.items():
        try:
            values[name] = read(text)
        except ValueError:
            values[name] = text
    return values


def user_hyperparameters(hyperparameters: Json) -> Json:
    """Those meant for the script."""
    return {name: value for name, value in hyperparameters.items() if not name.startswith((PREFIX, TUNING_PREFIX))}


def user_arguments(hyperparameters: Json) -> list[str]:
    """`--name value …`, sorted by name; a mapping becomes k=v,k=v and a name of one letter gets one dash."""
    arguments = []
    for name in sorted(hyperparameters):
        value = hyperparameters[name]
        if isinstance(value, dict):
            text = ",".join(f"{key}={item}" for key, item in sorted(value.items()))
        else:
            text = "" if value is None else str(value)
        arguments += [f"--{name}" if len(name) > 1 else f"-{name}", text]
    return arguments


def wants_torchrun(hyperparameters: Json) -> bool:
    return bool(hyperparameters.get("sagemaker_torch_distributed_enabled"))


def command(hyperparameters: Json, hosts: list[str], host: str, port: int) -> list[str]:
    """The command that runs the user's script on `host`; cwd is /opt/ml/code.

    With sagemaker_torch_distributed_enabled it is torchrun with one process for each GPU, or one where there is none.
    A single process is started without torchrun, which would only import torch once more to start one process.
    """
    program = [f"{CODE}/{hyperparameters['sagemaker_program']}", *user_arguments(user_hyperparameters(hyperparameters))]
    per_host = max(1, num_gpus())
    if not wants_torchrun(hyperparameters) or len(hosts) * per_host == 1:
        return ["python3", *program]
    rendezvous = ["--master_addr", MASTER_ADDRESS, "--master_port", str(port), "--node_rank", str(hosts.index(host))]
    return [
        *["python3", "-m", "torch.distributed.run", "--nnodes", str(len(hosts)), "--nproc_per_node", str(per_host)],
        *rendezvous,
        *program,
    ]


def environment(hyperparameters: Json, *, job_name: str, resources: Json, inputs: Json, port: int) -> dict[str, str]:
    """The toolkit's variables. `resources`: resourceconfig.json; `inputs`: inputdataconfig.json."""
    user = user_hyperparameters(hyperparameters)
    framework = {k: v for k, v in hyperparameters.items() if k.startswith(PREFIX) and k not in OWN_PARAMETERS}
    program = hyperparameters.get("sagemaker_program", "")
    described = {
        "hosts": resources["hosts"],
        "current_host": resources["current_host"],
        "current_instance_type": resources["current_instance_type"],
        "current_instance_group": resources["current_group_name"],
        "current_instance_group_hosts": resources["hosts"],
        "instance_groups": [group["instance_group_name"] for group in resources["instance_groups"]],
        "instance_groups_dict": {group["instance_group_name"]: group for group in resources["instance_groups"]},
        "distribution_instance_groups": [],
        "is_hetero": False,
        "network_interface_name": resources["network_interface_name"],
        "resource_config": resources,
        "input_data_config": inputs,
        "channels": sorted(inputs),
        "hps": user,
        "framework_params": framework,
        "user_entry_point": program,
        "module_name": str(program).removesuffix(".py"),
        "module_dir": str(hyperparameters.get("sagemaker_submit_directory", CODE)),
        "log_level": hyperparameters.get("sagemaker_container_log_level", 20),
        "framework_module": None,
        "input_dir": "/opt/ml/input",
        "input_config_dir": "/opt/ml/input/config",
        "model_dir": "/opt/ml/model",
        "output_dir": "/opt/ml/output",
        "output_data_dir": "/opt/ml/output/data",
        "output_intermediate_dir": "/opt/ml/output/intermediate",
        "num_cpus": os.cpu_count(),
        "num_gpus": num_gpus(),
    }
    channels = {name: f"/opt/ml/input/data/{name}" for name in inputs}
    details = {
        **{key: described[key] for key in described if key not in ("hps", "framework_params")},
        "additional_framework_parameters": framework,
        "channel_input_dirs": channels,
        "hyperparameters": user,
        "is_master": resources["current_host"] == resources["hosts"][0],
        "job_name": job_name,
        "master_hostname": resources["hosts"][0],
    }
    variables = {
        **described,
        "training_env": details,
        "user_args": user_arguments(user),
        "master_addr": MASTER_ADDRESS,
        "master_port": port,
        **{f"channel_{name}": path for name, path in channels.items()},
        **{f"hp_{name}": value for name, value in user.items()},
    }
    return {f"SM_{name.upper()}": _text(value) for name, value in variables.items()} | {
        "MASTER_ADDR": MASTER_ADDRESS,
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": NETWORK_INTERFACE,
        "PYTHONPATH": CODE,
    }


@cache
def num_gpus() -> int:
    """GPUs of this machine, without importing anything that would open one."""
    try:
        return len([name for name in os.listdir("/proc/driver/nvidia/gpus") if not name.startswith(".")])
    except OSError:
        return 0


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
