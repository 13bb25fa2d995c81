"""Torch's layers without torch's initial weights: `GPT` draws its own, and most models are loaded from a file."""

from torch import nn


class Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Leave the weights undefined."""


class Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Leave the weights undefined."""
