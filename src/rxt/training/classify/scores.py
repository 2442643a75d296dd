"""How good predicted classes are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """Of N texts in C classes."""

    right: Tensor
    """(C,) texts of each class that were told to be of it."""
    predicted: Tensor
    """(C,) texts that were told to be of it."""
    actual: Tensor
    """(C,) texts that are of it."""

    @classmethod
    def of(cls, predicted: Tensor, labels: Tensor, classes: int) -> Scores:
        """Predicted and right classes (N,)."""
        return cls(
            torch.bincount(labels[predicted == labels], minlength=classes),
            torch.bincount(predicted, minlength=classes),
            torch.bincount(labels, minlength=classes),
        )

    @property
    def accuracy(self) -> float:
        """Share of texts whose class was found."""
        return float(self.right.sum() / self.actual.sum())

    @property
    def f1(self) -> Tensor:
        """(C,) harmonic means of precision and recall, 2·right / (predicted + actual); NaN where there is neither."""
        return 2 * self.right / (self.predicted + self.actual)

    @property
    def macro_f1(self) -> float:
        """The mean of F1 over the classes that occur, in truth or in predictions."""
        return float(self.f1.nanmean())

    @property
    def most_frequent(self) -> float:
        """The accuracy of always naming the most frequent class."""
        return float(self.actual.max() / self.actual.sum())
