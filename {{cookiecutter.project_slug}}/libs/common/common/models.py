"""The data that services exchange: one definition for the one that sends and the one that reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Item:
    """Something in stock: what it is called and how many there are."""

    id: int
    name: str
    stock: int

    @staticmethod
    def read(data: Mapping[str, Any]) -> Item:
        """Return the item that a JSON object describes.

        Raises:
            ValueError: a field is missing or of the wrong type.
        """
        try:
            return Item(id=int(data["id"]), name=str(data["name"]), stock=int(data["stock"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not an item: {dict(data)}") from error


def total(items: list[Item]) -> int:
    """Return how many pieces there are in all."""
    return sum(item.stock for item in items)
