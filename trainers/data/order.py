"""Which pictures come next: every one once, in a new random order, again and again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class PictureOrder:
    """An endless shuffled sequence of indices 0..num_pictures-1 that can be saved and continued."""

    def __init__(self, num_pictures: int, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._permutation = torch.randperm(num_pictures, generator=self._generator)
        self._position = 0

    def next(self, count: int) -> Tensor:
        """The next `count` indices, int64, shape (count,)."""
        parts, wanted = [], count
        while wanted:
            if self._position == len(self._permutation):
                self._permutation = torch.randperm(
                    len(self._permutation), generator=self._generator
                )
                self._position = 0
            part = self._permutation[self._position : self._position + wanted]
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return torch.cat(parts)

    def state(self) -> dict[str, Any]:
        return {
            "generator": self._generator.get_state(),
            "permutation": self._permutation,
            "position": self._position,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue a saved sequence. One over another number of pictures keeps its place in the
        random stream and starts a new pass."""
        self._generator.set_state(state["generator"])
        if len(state["permutation"]) == len(self._permutation):
            self._permutation, self._position = state["permutation"], state["position"]
        else:
            self._permutation = torch.randperm(len(self._permutation), generator=self._generator)
            self._position = 0
