"""Training by Lightning: from a ``TrainConfig`` to a run folder."""

from __future__ import annotations

from figureground.training.fit import Run
from figureground.training.run import resume, train

__all__ = ["Run", "resume", "train"]
