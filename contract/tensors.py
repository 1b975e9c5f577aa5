"""What training saves for the default Debugger rules, and no more.

Losses, labels and predictions at every step. Gradients and ReLU inputs in full in the first three steps, which tell how
the weights were initialised (a head's gradients are megabytes); with the weights as reductions in the first ten, then
at intervals. ReLU inputs in full again after 50, 100, 200, … steps: dead units show in nothing less.
"""

from typing import Any

NEVER_IN_EVALUATION = {"eval.start_step": "1000000000"}
FIRST_TEN = "0,1,2,3,4,5,6,7,8,9"
REDUCTIONS = {
    "reductions": "min,max,mean,variance,l2_norm,abs_mean",
    "train.save_interval": "50",
    "train.save_steps": FIRST_TEN,
    **NEVER_IN_EVALUATION,
}
DOUBLING = ",".join(str(50 * 2**power) for power in range(15))


def collections(managed: bool = False) -> list[dict[str, Any]]:
    """CollectionConfigurations of DebugHookConfig.

    `managed`: SageMaker's own PoorWeightInitialization looks at the first ten steps (its parameter `steps`), at the
    percentiles of gradients among them, and smdebug's evaluator passes over a step of which a rule finds reductions
    only.
    """
    found = {
        "losses": {"train.save_interval": "1", "eval.save_interval": "1"},
        "outcomes": {"include_regex": "^(training|validation)_", "save_interval": "1"},
        "weights": REDUCTIONS,
        "gradients": REDUCTIONS,
        "first_gradients": {
            "include_regex": "^gradient/",
            "train.save_interval": "1",
            "train.end_step": "10" if managed else "3",
            **NEVER_IN_EVALUATION,
        },
        "relu_input": {"include_regex": ".*relu_input", **REDUCTIONS},
        "some_relu_inputs": {
            "include_regex": ".*relu_input",
            "train.save_interval": "1000000000",
            "train.save_steps": f"{FIRST_TEN if managed else '0,1,2'},{DOUBLING}",
            **NEVER_IN_EVALUATION,
        },
    }
    return [{"CollectionName": name, "CollectionParameters": values} for name, values in found.items()]
