"""What a model's masks are worth."""

from __future__ import annotations

from figureground.evaluation.compare import Comparison, compare, require_comparable
from figureground.evaluation.evaluate import Evaluation, batches, evaluate
from figureground.evaluation.fit import Fit, fit_on_valid
from figureground.evaluation.pictures import Case, draw_cases, show_prediction
from figureground.evaluation.run import score_run, write_json

__all__ = [
    "Case",
    "Comparison",
    "Evaluation",
    "Fit",
    "batches",
    "compare",
    "draw_cases",
    "evaluate",
    "fit_on_valid",
    "require_comparable",
    "score_run",
    "show_prediction",
    "write_json",
]
