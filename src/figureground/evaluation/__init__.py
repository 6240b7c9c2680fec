"""What a model's masks are worth."""

from __future__ import annotations

from figureground.evaluation.comparing import Comparison, compare, require_comparable
from figureground.evaluation.fitting.fit import Fit, fit_on_valid
from figureground.evaluation.fitting.mean_weights import average, require_alike, write_average
from figureground.evaluation.out_of_fold import OutOfFold, sum_up_folds
from figureground.evaluation.report.examples import Example, draw_examples, examples_of, show_prediction
from figureground.evaluation.report.write import read_record, write_report
from figureground.evaluation.score_run import fit_run, score_run
from figureground.evaluation.scoring.evaluation import Evaluation, batches, evaluate
from figureground.evaluation.scoring.slices import groups_of, metadata_of, read_metadata, slices_of
from figureground.files import write_json

__all__ = [
    "Comparison",
    "Evaluation",
    "Example",
    "Fit",
    "OutOfFold",
    "average",
    "batches",
    "compare",
    "draw_examples",
    "evaluate",
    "examples_of",
    "fit_on_valid",
    "fit_run",
    "groups_of",
    "metadata_of",
    "read_metadata",
    "read_record",
    "require_alike",
    "require_comparable",
    "score_run",
    "show_prediction",
    "slices_of",
    "sum_up_folds",
    "write_average",
    "write_json",
    "write_report",
]
