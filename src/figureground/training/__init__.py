"""Training by Lightning: from a ``TrainConfig`` to a run folder."""

from __future__ import annotations

from figureground.training.run import Run, free_folder, resume, train

__all__ = ["Run", "free_folder", "resume", "train"]
