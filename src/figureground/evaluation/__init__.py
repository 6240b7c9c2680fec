"""What a model's masks are worth."""

from __future__ import annotations

from figureground.evaluation.evaluate import Evaluation, evaluate
from figureground.evaluation.pictures import show_prediction

__all__ = ["Evaluation", "evaluate", "show_prediction"]
