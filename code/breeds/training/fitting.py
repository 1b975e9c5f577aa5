"""The training loop, for the head on features and for the last stages on images alike.

The state of a training is this loop's few values. Nothing random is among them, because each step draws from a stream
of its own, decided by seed, phase, epoch, step and rank; so a training goes on exactly from a checkpoint.
"""

import math
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from breeds.base import distributed
from breeds.base.container import InputError
from breeds.base.distributed import World
from breeds.base.metrics import EpochMetrics, Sums, count_correct
from breeds.debugger.hook import DebuggerHook
from breeds.training import batches, optimization
from breeds.training.checkpoints import Checkpoints

PHASES = ("head", "fine-tuning")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train in one phase; fields as the hyperparameters. `micro_batch_size` 0: the whole batch at once."""

    phase: str
    seed: int
    epochs: int
    learning_rate: float
    batch_size: int
    micro_batch_size: int
    optimizer: str
    weight_decay: float
    label_smoothing: float
    mixup_alpha: float
    ema_decay: float

    @classmethod
    def of(cls, settings: Any, phase: str) -> "Plan":
        """`settings`: train.py's."""
        own = {"epochs": settings.epochs, "learning_rate": settings.learning_rate}
        if phase == "fine-tuning":
            own = {"epochs": settings.fine_tune_epochs, "learning_rate": settings.fine_tune_learning_rate}
        shared = {each.name: getattr(settings, each.name) for each in fields(cls) if each.name not in ("phase", *own)}
        return cls(phase=phase, **own, **shared)


class Fit:
    """One phase of one training; `best` keeps the best epoch's metrics and weights."""

    def __init__(
        self,
        plan: Plan,
        model: nn.Module,
        train_set: batches.Batches,
        valid_set: batches.Batches,
        best: optimization.Best,
        world: World,
        debugger: DebuggerHook,
        checkpoints: Checkpoints,
    ):
        self.plan, self.model, self.train_set, self.valid_set = plan, model, train_set, valid_set
        self.best, self.world, self.debugger, self.checkpoints = best, world, debugger, checkpoints
        # The same loss for training and validation: the Debugger's Overfit rule compares the two.
        self.criterion = nn.CrossEntropyLoss(label_smoothing=plan.label_smoothing)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = optimization.optimizer(
            plan.optimizer, self.parameters, learning_rate=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self.average = optimization.Average(self.parameters, plan.ema_decay)
        self.micro_batch_size = plan.micro_batch_size or plan.batch_size
        self.steps_per_epoch = math.ceil(len(train_set.labels) / plan.batch_size)
        self.first_epoch = self.epoch = 1 + (best.metrics.epoch if best.metrics else 0)
        self.step, self.sums = 0, Sums()  # within the epoch
        self.saved_debugger: dict | None = None
        if checkpoints.state and checkpoints.phase == plan.phase:
            self._restore(checkpoints.state)
        self.wrapped = model  # until `run` has it average gradients over ranks

    @property
    def is_finished(self) -> bool:
        return self.epoch >= self.first_epoch + self.plan.epochs or self.best.should_stop

    def run(self) -> None:
        """Train for the plan's epochs or until patience runs out; the model then has the weights of the best epoch."""
        if self.world.size > 1 and not self.is_finished:
            self._agree_on_micro_batches()
        self.debugger.register(self.model, self.criterion)
        self.debugger.restore(self.saved_debugger)
        self.wrapped = self.world.wrap(self.model, bf16=getattr(self.model, "bf16", False))
        while not self.is_finished:
            self._train_epoch()
        self.model.load_state_dict(self.best.state)

    def _agree_on_micro_batches(self) -> None:
        """Try a batch on each rank, and take what fits all of them; nothing else changes.

        A rank that ran out of memory within a step could not try again: the others would wait for its gradients. The
        Debugger must not see this, nor may gradients be averaged; so it comes before either is set up.
        """
        _, inputs, labels, share = next(
            batches.training_batches(
                self.train_set, batch_size=self.plan.batch_size, epoch=self.epoch, first_step=0, world=self.world
            )
        )
        self.model.train()
        # The optimizer takes its memory, two values a parameter, at the end of its first step.
        taken = [] if self.optimizer.state else [torch.empty_like(each) for each in self.parameters for _ in range(2)]
        asked = self.micro_batch_size
        with torch.random.fork_rng([labels.device] if labels.device.type == "cuda" else []):
            while self._gradients(inputs, labels, labels, share) is None:
                pass
        del taken
        self.optimizer.zero_grad()
        self.micro_batch_size = self.world.smallest(self.micro_batch_size)
        self._say_if_smaller(asked, len(labels))

    def _train_epoch(self) -> None:
        started = time.perf_counter()
        self.debugger.train()
        self.model.train()
        for step, inputs, labels, share in batches.training_batches(
            self.train_set, batch_size=self.plan.batch_size, epoch=self.epoch, first_step=self.step, world=self.world
        ):
            self._train_step(inputs, labels, share)
            self.step = step + 1
            if self.checkpoints.due():
                self._save()
        trained = self.world.total(self.sums)
        with self.average.applied():
            validated = self._evaluate()
            metrics = EpochMetrics(
                epoch=self.epoch,
                train_loss=trained.mean_loss,
                train_accuracy=trained.accuracy,
                validation_loss=validated.mean_loss,
                validation_accuracy=validated.accuracy,
                seconds=time.perf_counter() - started,
            )
            self.best.update(metrics, self.model)
        if self.world.is_main:
            print(metrics.line(), flush=True)
        self.debugger.end_epoch(self.epoch, self.first_epoch + self.plan.epochs - 1)
        self.epoch, self.step, self.sums = self.epoch + 1, 0, Sums()
        self._save()

    def _train_step(self, inputs: Tensor, labels: Tensor, share: float) -> None:
        plan, done = self.plan, (self.epoch - self.first_epoch) * self.steps_per_epoch + self.step
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * optimization.cosine(done, plan.epochs * self.steps_per_epoch)
        streams = (plan.seed, PHASES.index(plan.phase), self.epoch, self.step, self.world.rank)
        if plan.mixup_alpha:
            chance = np.random.default_rng(streams)
            inputs, targets = batches.mixup(inputs, labels, self.train_set.num_classes, plan.mixup_alpha, chance)
        else:
            targets = labels
        sums, asked = None, self.micro_batch_size
        while sums is None:
            optimization.seed_dropout(labels.device, batches.mixed(*streams))
            sums = self._gradients(inputs, labels, targets, share)
        self._say_if_smaller(asked, len(labels))
        optimization.check_finite(
            sums.loss, self.parameters, self.world, epoch=self.epoch, learning_rate=plan.learning_rate
        )
        self.optimizer.step()
        self.average.update()
        if share:
            self.sums.add(sums.mean_loss, sums.correct, sums.count)

    def _gradients(self, inputs: Tensor, labels: Tensor, targets: Tensor, share: float) -> Sums | None:
        """Gradients of the batch, summed over micro-batches; None when these were too large and are smaller now."""
        self.optimizer.zero_grad()
        sums, count = Sums(), len(labels)
        try:
            for start in range(0, count, self.micro_batch_size):
                part = slice(start, start + self.micro_batch_size)
                if start + self.micro_batch_size >= count:
                    self._backward(inputs, labels, targets, part, share / count, sums)
                else:
                    with distributed.without_sync(self.wrapped):
                        self._backward(inputs, labels, targets, part, share / count, sums)
            return sums
        except torch.OutOfMemoryError as error:
            reason = str(error).splitlines()[0]
        self._halve_micro_batches(count, reason)
        return None

    def _backward(self, inputs: Tensor, labels: Tensor, targets: Tensor, part: slice, scale: float, sums: Sums) -> None:
        logits = self.wrapped(inputs[part])
        loss = self.criterion(logits, targets[part])
        size = len(labels[part])
        (loss * (scale * size)).backward()
        sums.add(loss.item(), count_correct(logits, labels[part]), size)

    def _halve_micro_batches(self, count: int, reason: str) -> None:
        """Raises InputError where that cannot help, or where other ranks already wait for this one's gradients."""
        used = min(self.micro_batch_size, count)
        if used == 1 or self.wrapped is not self.model:
            advice = f"Start again, which tries what fits now, or set micro-batch-size to {used // 2} or less."
            raise InputError(
                f"A micro-batch of {used} images does not fit the device's memory ({reason[:200]}).",
                "Use a larger instance." if used == 1 else advice,
            )
        self.micro_batch_size = math.ceil(used / 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _say_if_smaller(self, asked: int, count: int) -> None:
        if self.micro_batch_size < asked and self.world.is_main:
            print(
                f"out of memory with {min(asked, count)} images at once: going on with micro-batches of "
                f"{self.micro_batch_size}; each step still takes {self.plan.batch_size} images",
                flush=True,
            )

    @torch.no_grad()
    def _evaluate(self) -> Sums:
        """Exact sums of loss and correct predictions over the validation set, of all ranks together."""
        self.debugger.eval()
        self.model.eval()
        sums = Sums()
        for inputs, labels in batches.evaluation_batches(self.valid_set, world=self.world):
            logits = self.model(inputs)
            sums.add(self.criterion(logits, labels).item(), count_correct(logits, labels), len(labels))
        return self.world.total(sums)

    def _save(self) -> None:
        if self.checkpoints.directory is None:
            return
        self.checkpoints.save(
            {
                "phase": self.plan.phase,
                "first_epoch": self.first_epoch,
                "epoch": self.epoch,
                "step": self.step,
                "sums": asdict(self.world.total(self.sums)),
                "micro_batch_size": self.micro_batch_size,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.as_state(),
                "best": self.best.as_state(),
                "debugger": self.debugger.as_state(),
            }
        )

    def _restore(self, saved: dict) -> None:
        self.first_epoch, self.epoch, self.step = saved["first_epoch"], saved["epoch"], saved["step"]
        self.micro_batch_size = saved["micro_batch_size"]
        self.sums = Sums(**saved["sums"]) if self.world.is_main else Sums()
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average.restore(saved["average"])
        self.best.restore(saved["best"])
        self.saved_debugger = saved.get("debugger")
