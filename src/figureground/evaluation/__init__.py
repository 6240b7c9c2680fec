"""What a model's masks are worth."""

from __future__ import annotations

from figureground.evaluation.evaluate import Evaluation, batches, evaluate
from figureground.evaluation.pictures import Case, draw_cases, show_prediction
from figureground.evaluation.run import score_run, write_json

__all__ = ["Case", "Evaluation", "batches", "draw_cases", "evaluate", "score_run", "show_prediction", "write_json"]
