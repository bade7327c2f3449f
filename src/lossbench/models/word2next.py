"""A small network for the next word."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.config.options import ModelConfig, Shape, require
from lossbench.config.registry import register_model

if TYPE_CHECKING:
    from torch import nn


@register_model(label="word2next")
@dataclass
class Word2Next(ModelConfig):
    """Embeddings of the words before, one hidden layer, and an output layer over all words (Bengio et al. 2003)."""

    name: str = "word2next"
    embedding: int = 64  # size of a word's embedding
    hidden: int = 64  # size of the hidden layer
    prior_bias: bool = True  # the biases of the output layer begin at the loss's logits of the class shares

    reads = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.embedding >= 1, "model.embedding", ">= 1", self.embedding)
        require(self.hidden >= 1, "model.hidden", ">= 1", self.hidden)

    def build(self, shape: Shape, num_classes: int) -> "nn.Module":
        """The network from words [B, L], values 0..K where K is an unknown word, to logits [B, K]."""
        from torch import nn

        return nn.Sequential(
            nn.Embedding(num_classes + 1, self.embedding),
            nn.Flatten(),
            nn.Linear(shape[0] * self.embedding, self.hidden),
            nn.Tanh(),
            nn.Linear(self.hidden, num_classes),
        )
