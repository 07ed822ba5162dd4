"""The model that is served is the one that the code in train/ makes, and it is good."""

from __future__ import annotations

from app.model import FILE, Model
from train.__main__ import held_out, read, train

ACCURACY = 0.9


def test_training_again_gives_the_same_bytes() -> None:
    assert train() == FILE.read_bytes(), f"write it anew under a new name: python -m train models/NAME.onnx ({FILE})"


def test_flowers_that_it_has_not_learnt_from_are_given_their_species() -> None:
    features, labels, measures, species = read()
    model = Model()
    assert (model.features, model.labels) == (features, labels)
    asked = held_out(len(species))
    found = model.predict(measures[asked].tolist())
    right = sum(
        max(each, key=each.__getitem__) == labels[true] for each, true in zip(found, species[asked], strict=True)
    )
    assert right / asked.sum() >= ACCURACY
