"""What runs a network. Every engine takes the same input and gives the same logits."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A network that is ready to run."""

    name: str
    """Such as ``torch``."""

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, 3, H, W) to logits (N, H, W)."""
        ...
