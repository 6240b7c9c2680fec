"""Training by Lightning: from a ``TrainConfig`` to a run folder."""

from __future__ import annotations

from figureground.training.run import Run, resume, train

__all__ = ["Run", "resume", "train"]
