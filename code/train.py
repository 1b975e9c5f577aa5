"""Train a classifier: its head on cached features, then, if asked, the backbone's last stages on images.

On SageMaker hyperparameters arrive as arguments and directories as SM_* variables. Anywhere else:

    python code/train.py --features DIR --model-dir DIR [--prepared DIR --weights DIR] [--epochs 8 ...]

Without --weights only the head is written: enough for a tuning trial, which is never served.
"""

import math
import os
import random
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from breeds import container, distributed, features, hook, hyperparameters, packaging, training
from breeds.container import InputError
from breeds.distributed import World
from breeds.metrics import EpochMetrics, Sums, count_correct
from breeds.model import Classifier, Head
from torch import nn

# What SageMaker adds to the hyperparameters on its own account.
SAGEMAKER_ARGUMENTS = ("model_dir", "_tuning_objective_metric")


def setting(default: Any, text: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The hyperparameters."""

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
    optimizer: str = setting("adamw", "adamw or adam")
    patience: int = setting(4, "epochs without a better validation accuracy before stopping", 1, 1000)
    trainable_stages: int = setting(0, "of the backbone, counted from its end; 0 trains the head only", 0, 4)
    fine_tune_epochs: int = setting(3, "passes over the images, when stages are trainable", 1, 1000)
    fine_tune_learning_rate: float = setting(1e-4, "of the trainable stages and the head, then", 1e-8, 10)

    def __post_init__(self) -> None:
        for each in fields(self):
            value, low, high = getattr(self, each.name), each.metadata["low"], each.metadata["high"]
            if low is not None and not low <= value <= high:
                raise ValueError(f"{each.name.replace('_', '-')}={value} is outside {low:g} to {high:g}")
        if self.optimizer not in ("adamw", "adam"):
            raise ValueError(f"optimizer={self.optimizer} is neither adamw nor adam")


@dataclass(frozen=True, kw_only=True)
class Directories:
    """Channels and outputs; SageMaker names them in SM_* variables, a person by arguments."""

    features: Path
    model: Path
    prepared: Path | None
    weights: Path | None

    @classmethod
    def take_from(cls, arguments: list[str]) -> tuple["Directories", list[str]]:
        """Directories, and the arguments that are left: the hyperparameters."""
        parser = container.ArgumentParser(add_help=False, allow_abbrev=False)
        for name, variable in {
            "features": "SM_CHANNEL_FEATURES",
            "model-dir": "SM_MODEL_DIR",
            "prepared": "SM_CHANNEL_PREPARED",
            "weights": "SM_CHANNEL_WEIGHTS",
        }.items():
            default = os.environ.get(variable)
            parser.add_argument(f"--{name}", type=Path, default=Path(default) if default else None)
        given, rest = parser.parse_known_args(arguments)
        if given.features is None or given.model_dir is None:
            raise InputError("Training needs features and a model directory.", "Give --features DIR --model-dir DIR.")
        channels = {name: getattr(given, name) for name in ("features", "prepared", "weights")}
        return cls(model=given.model_dir, **channels), rest


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything the phases of one training share; `info` is features.json."""

    settings: Settings
    directories: Directories
    info: dict[str, Any]
    world: World

    def __post_init__(self) -> None:
        if self.settings.backbone not in (None, self.info["backbone"]):
            raise InputError(
                f"The features come from {self.info['backbone']}, not from {self.settings.backbone}.",
                "Run Embed with this backbone, or leave the hyperparameter out.",
            )
        if self.settings.trainable_stages and not (self.directories.weights and self.directories.prepared):
            raise InputError(
                f"trainable-stages={self.settings.trainable_stages} needs images and pretrained weights.",
                "Give the channels prepared and weights, or set it to 0.",
            )


def main() -> None:
    if hyperparameters.wants_help():
        print(f"{__doc__}\nHyperparameters:\n{hyperparameters.help_text(Settings)}")
        return
    directories, rest = Directories.take_from(sys.argv[1:])
    settings = hyperparameters.parse(Settings, rest, ignored=SAGEMAKER_ARGUMENTS)
    info = features.load_info(directories.features)
    world = distributed.join()
    try:
        train(Job(settings=settings, directories=directories, info=info, world=world))
    finally:
        world.leave()


def train(job: Job) -> None:
    """Head, then stages where asked; rank 0 writes the model with the best weights."""
    seed_everything(job.settings.seed)
    debugger, off = hook.create(), hook.DebuggerHook()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a head gains a quarter from a second thread, and loses thirtyfold when the core is busy
    best, head, valid_set = train_head(job, off if job.settings.trainable_stages else debugger)
    torch.set_num_threads(threads)
    model = packaged = head
    if job.directories.weights is not None:
        packaged = Classifier(load_backbone(job), head).to(job.world.device)
    if job.settings.trainable_stages:
        best, model, valid_set = fine_tune(job, debugger, packaged, best.metrics)
    head.calibrate(*training.predict(model, valid_set))
    debugger.close()
    if job.world.is_main:
        code = Path(__file__).resolve().parent
        packaging.write_model(job.directories.model, packaged, job.info, job.settings, best.metrics, code)
        print(best.metrics.line("best "), flush=True)
    job.world.barrier()


def seed_everything(seed: int) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def train_head(job: Job, debugger: hook.DebuggerHook) -> tuple[training.Best, Head, training.FeatureBatches]:
    """The best epoch on cached features, the head with its weights, and the validation set."""
    settings, num_classes = job.settings, len(job.info["classes"])
    train_set, valid_set = (
        training.FeatureBatches(
            features.load(job.directories.features, split), num_classes=num_classes, device=job.world.device
        )
        for split in ("train", "valid")
    )
    head = Head(job.info["feature_dim"], settings.hidden_width, num_classes, settings.dropout).to(job.world.device)
    head.standardise_by(train_set.features[0])
    best = training.Best(settings.patience)
    fit(job, debugger, head, train_set, valid_set, best, epochs=settings.epochs, learning_rate=settings.learning_rate)
    head.load_state_dict(best.state)
    return best, head, valid_set


def load_backbone(job: Job) -> nn.Module:
    """The pretrained backbone. Raises InputError where its weights are not those the features were made with."""
    from breeds import backbones

    fingerprint = backbones.weights_fingerprint(job.directories.weights)
    if fingerprint != job.info["weights_sha256"]:
        raise InputError(
            f"The features were made with other weights ({job.info['weights_sha256']}) than given ({fingerprint}).",
            "Give Embed and Train the same weights channel.",
        )
    return backbones.build_backbone(job.info["backbone"], job.directories.weights)[0].requires_grad_(False)


def fine_tune(
    job: Job, debugger: hook.DebuggerHook, classifier: Classifier, head_metrics: EpochMetrics
) -> tuple[training.Best, Classifier, training.ImageBatches]:
    """Train the last stages and the head on images; the weights before count as an epoch, so it can only gain."""
    from breeds import backbones, finetuning

    settings = job.settings
    backbones.unfreeze_last(classifier.backbone, job.info["backbone"], settings.trainable_stages)
    train_set, valid_set = (
        finetuning.load_images(job.directories.prepared, split, job.info, job.world.device)
        for split in ("train", "valid")
    )
    model = finetuning.FineTuned(classifier.backbone, classifier.head, bf16=job.info["precision"] == "bf16")
    best = training.Best(settings.patience)
    best.update(head_metrics, model)
    epochs, learning_rate = settings.fine_tune_epochs, settings.fine_tune_learning_rate
    fit(job, debugger, model, train_set, valid_set, best, epochs=epochs, learning_rate=learning_rate)
    model.load_state_dict(best.state)
    return best, model, valid_set


def fit(
    job: Job,
    debugger: hook.DebuggerHook,
    model: nn.Module,
    train_set: training.Batches,
    valid_set: training.Batches,
    best: training.Best,
    *,
    epochs: int,
    learning_rate: float,
) -> None:
    """Train `model` for `epochs` or until patience runs out; `best` keeps the best epoch's metrics and weights."""
    settings, world = job.settings, job.world
    # The same loss for training and validation: the Debugger's Overfit rule compares the two.
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    debugger.register(model, criterion)
    wrapped = world.wrap(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = training.optimizer(
        settings.optimizer, parameters, learning_rate=learning_rate, weight_decay=settings.weight_decay
    )
    total_steps, step = epochs * math.ceil(len(train_set.labels) / settings.batch_size), 0
    # Every rank must shuffle alike; which views and mixtures it draws is its own affair.
    order = torch.Generator().manual_seed(settings.seed)
    draws = torch.Generator().manual_seed(settings.seed + world.rank)
    mixing = np.random.default_rng([settings.seed, world.rank])
    first = 1 + (best.metrics.epoch if best.metrics else 0)
    for epoch in range(first, first + epochs):
        started, sums = time.perf_counter(), Sums()
        debugger.train()
        model.train()
        for inputs, labels, share in training.training_batches(
            train_set, batch_size=settings.batch_size, order=order, draws=draws, world=world
        ):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * training.cosine(step, total_steps)
            inputs, targets = training.mixup(inputs, labels, train_set.num_classes, settings.mixup_alpha, mixing)
            logits = wrapped(inputs)
            loss = criterion(logits, targets)
            optimizer.zero_grad()
            (loss * share).backward()
            optimizer.step()
            training.check_finite(loss.item(), epoch, step, learning_rate)
            sums.add(loss.item(), count_correct(logits, labels), len(labels))
            step += 1
        trained, validated = world.total(sums), evaluate(model, valid_set, criterion, world, debugger)
        metrics = EpochMetrics(
            epoch=epoch,
            train_loss=trained.mean_loss,
            train_accuracy=trained.accuracy,
            validation_loss=validated.mean_loss,
            validation_accuracy=validated.accuracy,
            seconds=time.perf_counter() - started,
        )
        if world.is_main:
            print(metrics.line(), flush=True)
        best.update(metrics, model)
        if best.should_stop:
            break


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: training.Batches, criterion: nn.Module, world: World, debugger: hook.DebuggerHook
) -> Sums:
    """Exact sums of loss and correct predictions over the split, of all ranks together."""
    debugger.eval()
    model.eval()
    sums = Sums()
    for inputs, labels in training.evaluation_batches(batches, world=world):
        logits = model(inputs)
        sums.add(criterion(logits, labels).item(), count_correct(logits, labels), len(labels))
    return world.total(sums)


if __name__ == "__main__":
    container.run(main)
