"""Train a classifier: its head on cached features, then, if asked, the backbone's last stages on images.

On SageMaker hyperparameters arrive as arguments and directories as SM_* variables. Anywhere else:

    python code/train.py --features DIR --model-dir DIR [--prepared DIR --weights DIR] [--epochs 8 ...]

Without --weights only the head is written: enough for a tuning trial, which is never served.
"""

import os
import sys
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from breeds.base import container, distributed
from breeds.base.container import InputError
from breeds.base.distributed import World
from breeds.base.metrics import EpochMetrics
from breeds.debugger import hook, live_rules
from breeds.model import features, unknown
from breeds.model.classifier import Classifier, Head, one_thread
from breeds.training import batches, hyperparameters, optimization, packaging
from breeds.training.checkpoints import Checkpoints
from breeds.training.fitting import Fit, Plan
from torch import nn

from contract.hyperparameters import Hyperparameters

# What SageMaker adds to the hyperparameters on its own account.
SAGEMAKER_ARGUMENTS = ("model_dir", "_tuning_objective_metric")


@dataclass(frozen=True, kw_only=True)
class Directories:
    """Channels and outputs; SageMaker names them in SM_* variables, a person by arguments."""

    features: Path
    model: Path
    prepared: Path | None
    weights: Path | None
    checkpoints: Path | None

    @classmethod
    def take_from(cls, arguments: list[str]) -> tuple["Directories", list[str]]:
        """Directories, and the arguments that are left: the hyperparameters."""
        parser = container.ArgumentParser(add_help=False, allow_abbrev=False)
        for name, variable in {
            "features": "SM_CHANNEL_FEATURES",
            "model-dir": "SM_MODEL_DIR",
            "prepared": "SM_CHANNEL_PREPARED",
            "weights": "SM_CHANNEL_WEIGHTS",
            "checkpoints": "",
        }.items():
            default = os.environ.get(variable)
            parser.add_argument(f"--{name}", type=Path, default=Path(default) if default else None)
        given, rest = parser.parse_known_args(arguments)
        if given.features is None or given.model_dir is None:
            raise InputError("Training needs features and a model directory.", "Give --features DIR --model-dir DIR.")
        channels = {name: getattr(given, name) for name in ("features", "prepared", "weights", "checkpoints")}
        return cls(model=given.model_dir, **channels), rest


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything the phases of one training share; `info` is features.json."""

    settings: Hyperparameters
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
        print(f"{__doc__}\nHyperparameters:\n{hyperparameters.help_text(Hyperparameters)}")
        return
    directories, rest = Directories.take_from(sys.argv[1:])
    settings = hyperparameters.parse(Hyperparameters, rest, ignored=SAGEMAKER_ARGUMENTS)
    info = features.load_info(directories.features)
    world = distributed.join()
    with distributed.lost_workers_named(world):
        train(Job(settings=settings, directories=directories, info=info, world=world))


def train(job: Job) -> None:
    """Head, then stages where asked; rank 0 writes the model with the best weights."""
    settings, world = job.settings, job.world
    optimization.make_deterministic(settings.seed)
    announce(job)
    debugger, off = hook.create(), hook.DebuggerHook()
    live_rules.watch(debugger, settings.stop_on_issue, settings.rule_parameters, world)
    train_set, valid_set = (feature_batches(job, split) for split in ("train", "valid"))
    head = Head(job.info["feature_dim"], settings.hidden_width, train_set.num_classes, settings.dropout)
    model: nn.Module = head.to(world.device)
    packaged: Classifier | Head = head
    head.standardise_by(batches.plain_inputs(train_set))
    checkpoints = Checkpoints(
        job.directories.checkpoints, identity(job, head, train_set), world, seconds=settings.checkpoint_seconds
    )
    checkpoints.load()
    head_metrics = None
    if checkpoints.phase != "fine-tuning":
        best, watched = optimization.Best(settings.patience), off if settings.trainable_stages else debugger
        with one_thread():
            Fit(Plan.of(settings, "head"), head, train_set, valid_set, best, world, watched, checkpoints).run()
        head_metrics = best.metrics
    if job.directories.weights is not None:
        packaged = Classifier(load_backbone(job, job.directories.weights), head).to(world.device)
    if settings.trainable_stages and isinstance(packaged, Classifier):
        best, model, valid_set = fine_tune(job, debugger, packaged, head_metrics, checkpoints)
    logits, labels = optimization.predict(model, valid_set)
    head.calibrate(logits, labels)
    debugger.close()
    world.leave()
    if world.is_main:
        assert best.metrics is not None
        code, serving = Path(__file__).resolve().parent, optimise(job, packaged)
        known = unknown.of_the_served_form(serving, (logits / head.temperature).cpu().numpy())
        packaging.write_model(job.directories.model, packaged, job.info, settings, best.metrics, code, serving, known)
        checkpoints.finish()
        print(best.metrics.line("best "), flush=True)


def announce(job: Job) -> None:
    """The learning rate is never scaled behind the user's back."""
    if job.world.size > 1 and job.world.is_main:
        print(
            f"{job.world.size} processes share each batch of {job.settings.batch_size} images, so the learning rate "
            "is the one for a single process. A larger batch-size may want a larger one.",
            flush=True,
        )


def identity(job: Job, head: Head, train_set: batches.Batches) -> dict[str, Any]:
    """What a checkpoint has to agree on: all that decides the result. The mean of the features stands for the data."""
    ignored = ("optimize", "stop_on_issue", "rule_parameters", "checkpoint_seconds", "backbone")
    chosen = {name: value for name, value in asdict(job.settings).items() if name not in ignored}
    data = zlib.crc32(train_set.labels.cpu().numpy().tobytes(), zlib.crc32(head.mean.cpu().numpy().tobytes()))
    return {**job.info, **chosen, "seed_of_features": job.info.get("seed"), "data": data, "processes": job.world.size}


def optimise(job: Job, packaged: Classifier | Head) -> dict[str, Any] | None:
    """The form that will be served, written into the model directory; None for a tuning trial, which never is."""
    if job.settings.optimize == "off" or not isinstance(packaged, Classifier):
        return None
    from breeds.model import optimized, optimizing

    view_size = job.info["view_size"]
    serving = optimizing.optimise(
        packaged, job.directories.prepared, view_size, job.directories.model, job.settings.seed
    )
    print(optimized.summary(serving), flush=True)
    return serving


def feature_batches(job: Job, split: str) -> batches.Batches:
    """A split of the features channel. Raises InputError where it is not whole."""
    return batches.FeatureBatches(
        features.load(job.directories.features, split),
        num_classes=len(job.info["classes"]),
        device=job.world.device,
        seed=job.settings.seed,
    )


def load_backbone(job: Job, weights: Path) -> nn.Module:
    """The pretrained backbone. Raises InputError where its weights are not those the features were made with."""
    from breeds.model import backbones

    fingerprint = backbones.weights_fingerprint(weights)
    if fingerprint != job.info["weights_sha256"]:
        raise InputError(
            f"The features were made with other weights ({job.info['weights_sha256']}) than given ({fingerprint}).",
            "Give Embed and Train the same weights channel.",
        )
    return backbones.build_backbone(job.info["backbone"], weights)[0].requires_grad_(False)


def fine_tune(
    job: Job,
    debugger: hook.DebuggerHook,
    classifier: Classifier,
    head_metrics: EpochMetrics | None,
    checkpoints: Checkpoints,
) -> tuple[optimization.Best, nn.Module, batches.Batches]:
    """Train the last stages and the head on images; the weights before count as an epoch, so it can only gain.

    `head_metrics` are those of the head, None where a checkpoint holds them.
    """
    from breeds.training import finetuning

    settings, world, prepared = job.settings, job.world, job.directories.prepared
    assert prepared is not None  # see Job
    stages, train_set, valid_set = finetuning.prepare(
        prepared,
        classifier.backbone,
        job.info,
        trainable=settings.trainable_stages,
        epochs=settings.fine_tune_epochs,
        views=settings.fine_tune_views,
        max_bytes=settings.image_memory_mb * 2**20,
        seed=settings.seed,
        world=world,
    )
    model = finetuning.FineTuned(stages, classifier.head, bf16=job.info["precision"] == "bf16")
    best = optimization.Best(settings.patience)
    if head_metrics:
        best.update(head_metrics, model)
    Fit(Plan.of(settings, "fine-tuning"), model, train_set, valid_set, best, world, debugger, checkpoints).run()
    return best, model, valid_set


if __name__ == "__main__":
    container.run(main)
