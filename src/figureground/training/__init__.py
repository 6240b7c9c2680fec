"""Training by Lightning: from a ``TrainConfig`` to a run folder."""

from __future__ import annotations

from figureground.training.fit import Run
from figureground.training.folds import begin_folds, train_folds
from figureground.training.run import resume, train

__all__ = ["Run", "begin_folds", "resume", "train", "train_folds"]
