"""The model: a file of the image, read once at the start, and what it says of the numbers that it is given."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

FILE = Path(__file__).parents[1] / "models" / "iris-1.0.0.onnx"
"""The version that is served. A new one is a new file beside it, and its name here."""

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""What may compute, best first: a GPU where the image has its libraries and the container has the device."""


class Model:
    """An ONNX model of `features` → `probabilities`, which says itself what its columns are called."""

    def __init__(self, file: Path = FILE) -> None:
        content = file.read_bytes()
        options = onnxruntime.SessionOptions()
        # As many threads as the container has processors: ONNX Runtime counts the machine's.
        options.intra_op_num_threads = int(os.environ.get("THREADS", "1"))
        available = onnxruntime.get_available_providers()
        self._session = onnxruntime.InferenceSession(
            content, options, providers=[name for name in PROVIDERS if name in available]
        )
        self.name = file.stem
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.providers = self._session.get_providers()

    @cached_property
    def features(self) -> list[str]:
        """What each number of a row is, in order."""
        return self._words("features")

    @cached_property
    def labels(self) -> list[str]:
        """What each probability is of, in order."""
        return self._words("labels")

    def predict(self, rows: Sequence[Sequence[float]]) -> list[dict[str, float]]:
        """Return the probability of each label, for each row; it may be called from several threads at once."""
        (probabilities,) = self._session.run(["probabilities"], {"features": np.asarray(rows, dtype=np.float32)})
        return [dict(zip(self.labels, map(float, row), strict=True)) for row in probabilities]

    def _words(self, key: str) -> list[str]:
        words: str = self._session.get_modelmeta().custom_metadata_map[key]
        return words.split(",")
