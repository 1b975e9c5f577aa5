"""The hyperparameters of code/train.py: names, types, defaults and bounds. On the command line `_` is written `-`."""

from dataclasses import dataclass, fields

from contract.settings import setting


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Raises ValueError for a value out of its bounds."""

    epochs: int = setting(8, "passes over the features, at most", 1, 1000)
    seed: int = setting(0, "of initial weights, order, views, dropout and mixup", 0, 2**31 - 1)
    backbone: str | None = setting(None, "must be the one the features come from; that one by default")
    learning_rate: float = setting(1e-3, "of the head, at the start of a cosine schedule to 0", 1e-8, 100)
    batch_size: int = setting(64, "images a step, over all processes together", 1, 65536)
    hidden_width: int = setting(512, "of the head", 1, 16384)
    dropout: float = setting(0.5, "on standardised features and on the hidden layer", 0, 0.95)
    weight_decay: float = setting(1e-2, "of the optimizer", 0, 10)
    label_smoothing: float = setting(0.1, "probability spread over the other classes", 0, 0.9)
    mixup_alpha: float = setting(0.0, "of mixup's Beta distribution; 0 is off", 0, 10)
    optimizer: str = setting("adamw", "adamw or adam", choices=("adamw", "adam"))
    patience: int = setting(4, "epochs without a better validation accuracy before stopping", 1, 1000)
    ema_decay: float = setting(0.0, "of the weights' moving average, which is evaluated and kept; 0 is off", 0, 0.99999)
    micro_batch_size: int = setting(0, "images of a step at once in a process; 0: all that fit", 0, 65536)
    trainable_stages: int = setting(0, "of the backbone, counted from its end; 0: the head only, 5: all of it", 0, 5)
    fine_tune_epochs: int = setting(3, "passes over the images, when stages are trainable", 1, 1000)
    fine_tune_learning_rate: float = setting(1e-4, "of the trainable stages and the head, then", 1e-8, 10)
    fine_tune_views: int = setting(4, "random crops of each image, which the epochs take in turn", 1, 1000)
    image_memory_mb: int = setting(0, "images and activations kept by a process; 0: half of the memory", 0, 2**31)
    checkpoint_seconds: float = setting(60, "between checkpoints within an epoch; one follows each epoch", 0, 86400)
    stop_on_issue: str = setting("none", "Debugger rules, with commas: training ends as soon as one finds something")
    rule_parameters: str = setting("none", "of these rules: Rule.parameter=value, with commas")
    optimize: str = setting(
        "on", "on or off: make and measure the faster forms that can be served", choices=("on", "off")
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value, low, high = getattr(self, each.name), each.metadata["low"], each.metadata["high"]
            name, choices = each.name.replace("_", "-"), each.metadata["choices"]
            if low is not None and not low <= value <= high:
                raise ValueError(f"{name}={value} is outside {low:g} to {high:g}")
            if choices and value not in choices:
                raise ValueError(f"{name}={value} is neither {' nor '.join(choices)}")
