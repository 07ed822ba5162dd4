"""Trains the model and writes it: `python -m train models/iris-1.0.0.onnx`, with what requirements-test.txt locks.

The same data gives the same bytes on any machine, and a test makes sure of it: what is served is what this code makes.
A new version gets a new file name; app/model.py says which one is served.

iris.csv is R. A. Fisher's of 1936: 50 flowers of each of three species. The model is a logistic regression.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DATA = Path(__file__).with_name("iris.csv")
HELD_OUT = 5
"""Each fifth flower is not learnt from: on those, tests ask how good the model is."""

STEPS, RATE, PENALTY = 5000, 0.5, 0.001
DECIMALS = 3
"""Processors differ in the last digits of a sum, so weights are cut well before those."""

Numbers = NDArray[np.float64]


def read(file: Path = DATA) -> tuple[list[str], list[str], Numbers, NDArray[np.int64]]:
    """Return the features' names, the species, the measures, and each flower's species by its number."""
    header, *rows = csv.reader(file.read_text(encoding="utf-8").splitlines())
    labels = sorted({row[-1] for row in rows})
    measures = np.array([[float(value) for value in row[:-1]] for row in rows])
    return header[:-1], labels, measures, np.array([labels.index(row[-1]) for row in rows])


def held_out(count: int) -> NDArray[np.bool_]:
    """Return which of so many flowers are not learnt from."""
    return np.arange(count) % HELD_OUT == 0


def fit(measures: Numbers, species: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Return weights and biases, by gradient descent on the whole data: no chance is in it."""
    mean, spread = measures.mean(axis=0), measures.std(axis=0)
    scaled, wanted = (measures - mean) / spread, np.eye(species.max() + 1)[species]
    weights, biases = np.zeros((measures.shape[1], wanted.shape[1])), np.zeros(wanted.shape[1])
    for _ in range(STEPS):
        scores = scaled @ weights + biases
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = (likely / likely.sum(axis=1, keepdims=True) - wanted) / len(scaled)
        weights -= RATE * (scaled.T @ error + PENALTY * weights)
        biases -= RATE * error.sum(axis=0)
    # Scaling becomes part of the weights, so that the model takes centimetres as they are.
    unscaled = weights / spread[:, None]
    return unscaled.round(DECIMALS), (biases - mean @ unscaled).round(DECIMALS)


def to_onnx(weights: Numbers, biases: Numbers, features: list[str], labels: list[str], version: int) -> bytes:
    """Return the model as an ONNX file, which says what its columns are called."""
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["features", "weights", "biases"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "iris",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", len(features)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", len(labels)])],
        [
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(biases.astype(np.float32), "biases"),
        ],
    )
    # Fixed versions of the format: a newer `onnx` writes the same file.
    model = helper.make_model(
        graph, producer_name="train", model_version=version, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]
    )
    helper.set_model_props(model, {"features": ",".join(features), "labels": ",".join(labels)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def train(version: int = 1) -> bytes:
    """Return the model that iris.csv gives, as an ONNX file."""
    features, labels, measures, species = read()
    learnt = ~held_out(len(species))
    weights, biases = fit(measures[learnt], species[learnt])
    return to_onnx(weights, biases, features, labels, version)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(train())
