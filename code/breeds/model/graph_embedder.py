"""The frozen backbone in OpenVINO's form: the same features in 0.6 to 0.8 of the CPU time."""

from typing import Any

import numpy as np
import torch
from torch import nn

from breeds.base import extras
from breeds.base.container import cores, first_line
from breeds.model import optimized
from breeds.model.backbones import for_inference
from breeds.model.embedding import MIN_COSINE, Embedder, mean_cosine
from breeds.model.optimizing import FromPixels, quiet

MIN_VIEWS = 1000  # with fewer, making the graph takes longer than it saves: 1 s with MobileNetV2


class GraphEmbedder:
    """An Embedder in OpenVINO on the CPU: uint8 [n, size, size, 3] to float16 [n, feature_dim], from any thread.

    It has one stream of one thread per core, as many as `embedding.map_in_threads` computes batches at a time.
    """

    batch_size = 8

    def __init__(self, network: nn.Module, precision: str):
        """`precision`: "bf16" or "fp32"."""
        self.precision = precision
        self._run = optimized.Streams(_convert(network), precision, "THROUGHPUT", cores())

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self._run(pixels, np.float16)


def or_faster(embedder: Embedder, network: nn.Module, sample: np.ndarray) -> Embedder | GraphEmbedder:
    """`embedder` in OpenVINO's form, where that can be had and its features of `sample` agree; else itself.

    Prints which, and why.
    """
    if embedder.device.type != "cpu":
        return embedder
    reason = extras.ensure(extras.RUNNING)
    if reason is None:
        try:
            with quiet():
                graph = GraphEmbedder(network, embedder.precision)
            agreement = mean_cosine(embedder(sample), graph(sample))
            if agreement >= MIN_COSINE:
                print(f"embedding with OpenVINO (agrees with PyTorch to cosine {agreement:.4f})", flush=True)
                return graph
            reason = f"OpenVINO's features agree to cosine {agreement:.4f} only"
        except Exception as error:  # whatever it is, PyTorch does the work
            reason = first_line(error)
    print(f"embedding with PyTorch: {reason}", flush=True)
    return embedder


def _convert(network: nn.Module) -> Any:
    """The graph for any number of images of any size."""
    return optimized.import_openvino().convert_model(
        FromPixels(for_inference(network)).eval(),
        example_input=torch.zeros(1, 32, 32, 3, dtype=torch.uint8),
        input=[-1, -1, -1, 3],
    )
