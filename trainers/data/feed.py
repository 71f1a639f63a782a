"""The next pictures as the discriminator sees them, in a saved and continued order."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.config import TrainConfig
from trainers.data.cache import PictureSet
from trainers.data.order import PictureOrder

DEVICE_SHARE_FOR_PICTURES = 0.4
"""Pictures live on the graphics card when they fill at most this share of its memory."""


class PictureFeed:
    """Every one of the `shown` pictures once, in a new random order, again and again."""

    def __init__(
        self, pictures: PictureSet, shown: np.ndarray, config: TrainConfig, device: torch.device
    ) -> None:
        """`shown`: int64 indices into `pictures`, those that are not held out."""
        self._pictures, self._config, self._device = pictures, config, device
        self._shown = torch.from_numpy(shown)
        self._classes = torch.from_numpy(pictures.class_indices)
        self._order = PictureOrder(len(shown), config.seed)
        self._flips = torch.Generator("cpu").manual_seed(config.seed)
        self._on_device: Tensor | None = None
        if device.type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
            if pictures.images.nbytes <= DEVICE_SHARE_FOR_PICTURES * memory:
                self._on_device = torch.from_numpy(np.array(pictures.images)).to(device)

    def next(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Float pictures (count, 3, S, S) in [-1, 1] and int64 classes (count,), on the device;
        None for the classes of a run that knows none."""
        indices = self._shown[self._order.next(count)]
        if self._on_device is not None:
            batch = self._on_device[indices.to(self._device)]
        else:
            batch = torch.from_numpy(self._pictures.images[indices.numpy()]).to(self._device)
        # (B, H, W, 3) seen as (B, 3, H, W) is already channels-last: no copy.
        real = batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        if self._config.flip:
            mirrored = (torch.rand(count, generator=self._flips) < 0.5).to(self._device)
            real = torch.where(mirrored[:, None, None, None], real.flip(3), real)
        classes = self._classes[indices].to(self._device) if self._config.classes else None
        return real, classes

    def state(self) -> dict[str, Any]:
        return {"order": self._order.state(), "flips": self._flips.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        self._order.restore(state["order"])
        self._flips.set_state(state["flips"])
