"""What follows a training run: the fit on valid, and the score, usually on test."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from figureground.bundle import replace_info
from figureground.data import Dataset, Split, open_dataset
from figureground.evaluation.fitting.fit import FEWEST_TO_CHOOSE, fit_on_valid
from figureground.evaluation.report.write import read_record, write_report
from figureground.evaluation.scoring.evaluation import Evaluation, evaluate
from figureground.evaluation.scoring.slices import metadata_of, slices_of
from figureground.files import write_json
from figureground.prediction import Member, Segmenter, open_member
from figureground.prediction.photos.verify import vector_logits
from figureground.runs import PER_IMAGE, REPORT, bundle_path, read_config, scores_file

log = logging.getLogger(__name__)


def score_run(folder: Path, *, split: Split = "test", progress: bool = False) -> Evaluation:
    """Fit the operating point of a run's best model on the valid split of its data, and score it on a split.

    The figures go into ``test.json`` (the split's name) and the bundle, those of every image into ``per_image.csv``,
    and all that a colleague needs into ``report.html``.

    Args:
        folder: of the run.
        split: ``test``, once, when nothing is chosen any more; otherwise ``valid``.
        progress: show bars.

    Raises:
        FiguregroundError: the run holds no model, or its data not these splits.
    """
    member, dataset = fit_run(folder, progress=progress), open_dataset(read_config(folder).data, split)
    segmenter = Segmenter(member)
    evaluation = evaluate(segmenter, dataset, progress=progress, per_image=folder / PER_IMAGE)
    figures = evaluation.to_json()
    slices = slices_of(evaluation, metadata_of(dataset))
    write_json(folder / scores_file(split), figures | {"slices": [found.to_json() for found in slices]})
    summary = replace(member.info.data, splits={**member.info.data.splits, split: len(dataset)})
    scores = {**member.info.scores, split: figures}
    replace_info(bundle_path(folder), replace(member.info, data=summary, scores=scores))
    write_report(folder / REPORT, evaluation, segmenter, dataset, slices=slices, record=read_record(folder))
    return evaluation


def fit_run(folder: Path, *, progress: bool = False) -> Member:
    """Fit the operating point of a run's best model on the valid split of its data, and keep it in the bundle.

    Raises:
        FiguregroundError: the run holds no model, or its data no valid split.
    """
    member = _fitted(open_member(folder), open_dataset(read_config(folder).data, "valid"), progress)
    replace_info(bundle_path(folder), member.info, vector_logits(member.engine, member.preprocessing.size))
    return member


def _fitted(member: Member, valid: Dataset, progress: bool) -> Member:
    """The model with what can be fitted to the images that there are."""
    if len(valid) < FEWEST_TO_CHOOSE:
        log.info("valid has %d images, too few to choose a threshold (%d): it stays 0.5", len(valid), FEWEST_TO_CHOOSE)
        return member
    fit = fit_on_valid(member, valid, progress=progress)
    log.info("fitted on valid, n=%d: threshold %.3f; %s", fit.n, fit.chosen.row.threshold, fit.chosen.why)
    return replace(member, info=fit.info)
