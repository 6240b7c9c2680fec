"""The parts of a report on what was fitted: the operating point, and the estimates that need no true mask."""

from __future__ import annotations

from collections.abc import Sequence

from figureground.evaluation.report.page import Plot, Section
from figureground.evaluation.report.plots import draw_risk_coverage
from figureground.evaluation.scoring.estimates import POOR, QualityScores
from figureground.evaluation.scoring.evaluation import Fitted


def fitted_section(fitted: Fitted | None) -> Sequence[Section]:
    """What ``predict`` makes of the network, beside the headline; none where the bundle holds defaults."""
    if fitted is None:
        return ()
    settings, mean = fitted.settings, fitted.scores.means["dice"]
    low, high = mean.ci95
    text = (
        "The headline is the network as it was trained, at threshold 0.5. With what was fitted on “valid” "
        f"(threshold {settings['threshold']:.3g}, temperature {settings['temperature']:.3g}), which is how masks are "
        f"made, the mean Dice of these images is {mean.mean:.4f}, 95% interval {low:.4f} to {high:.4f}."
    )
    return (Section("Fitted threshold", [text]),)


def estimates_section(quality: QualityScores | None) -> Sequence[Section]:
    """How far the estimated Dice of a mask can be trusted, and what leaving out doubtful masks gains."""
    if quality is None:
        return ()
    error, rank = quality.mean_absolute_error, quality.rank_correlation
    found = f"{quality.poor_flagged:.0%} of " if quality.poor_flagged is not None else ""
    text = (
        f"Every mask comes with an estimate of its Dice, made without the truth. On these images it is off by "
        f"{error.mean:.3f} on average, and it puts them in order with a rank correlation of {rank.mean:.2f} "
        f"(95% interval {rank.ci95[0]:.2f} to {rank.ci95[1]:.2f}; 1 is perfect). {quality.flagged:.0%} of the images "
        f"are marked for review, {found}the {quality.poor} with a Dice below {POOR:g} among them."
    )
    reading = (
        "Read the curve from the right: the further to the left, the fewer masks are kept, those with the best "
        "estimates. It should fall; the dashed line is what leaving out images by chance gives."
    )
    plot = Plot(
        "risk_coverage",
        draw_risk_coverage(quality.curve, quality.aurc_random),
        f"Mean error of the masks that are kept, by their share: {quality.curve[0][1]:.3f} for the best "
        f"{quality.curve[0][0]:.0%}, {quality.curve[-1][1]:.3f} for all.",
        "One minus Dice of the masks that are kept, by the share that is kept.",
    )
    return (Section("Quality without a mask", [text, reading], [plot]),)
