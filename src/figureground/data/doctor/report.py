"""What the doctor found, as text for people and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figureground.data.dataset import list_briefly
from figureground.data.doctor.checks import UNDIVIDED, Examined
from figureground.data.doctor.disagreement import Verdict
from figureground.data.doctor.findings import Case, Finding
from figureground.files import write_json as write_figures

WIDTH = 110
RANKED = "--json holds all masks in the order in which they are contradicted (ranking)."
LAYOUTS = {
    "folder": "images/ and masks/",
    "oxford-pet": "Oxford-IIIT Pet",
    "coco": "COCO",
    "manifest": "table",
    "labelme": "labelme",
}


@dataclass(frozen=True)
class Report:
    """The findings of a dataset."""

    examined: Examined
    findings: tuple[Finding, ...]
    """Problems first."""
    models: int = 0
    """How many models judged the masks."""
    ranking: tuple[Verdict, ...] = ()
    """What they say of every mask, those first that they contradict most."""
    folds: bool = False
    """Whether they are folds, each of which judged what it has not seen."""

    @property
    def clean(self) -> bool:
        """Whether there is no problem; there may be notes."""
        return not any(finding.severity == "problem" for finding in self.findings)

    @property
    def splits(self) -> dict[str, int]:
        """Images and masks of each split, whole or not."""
        return dict(Counter(item.split or UNDIVIDED for item in self.examined.survey.items))

    def relative(self, path: Path) -> str:
        """A file's path below the dataset's folder; whole, if it lies elsewhere."""
        root = self.examined.survey.root
        return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()

    def heading(self) -> str:
        """The dataset in a line."""
        survey = self.examined.survey
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items()) or "no images"
        return f"{survey.root} ({LAYOUTS[survey.layout]}): {splits}"

    def caveat(self) -> str:
        """How far the models' word can be trusted; empty without models."""
        if not self.models:
            return ""
        if self.folds:
            return f"{self.models} folds judged the masks, each image by the network that has not seen it. {RANKED}"
        if self.models == 1:
            return (
                "One model judged the masks. On images that it was trained on it may repeat their faults: "
                "only what it says of the others is out of sample. Give --model once for each fold to judge all."
            )
        return f"{self.models} models judged the masks; for each image the one counts that agrees least with its mask."

    def verdict(self) -> str:
        """The outcome in a line."""
        kinds = Counter(finding.severity for finding in self.findings)
        if not kinds:
            return "Nothing found."
        return f"{_count(kinds['problem'], 'problem')}, {_count(kinds['note'], 'note')}."

    def summary(self) -> str:
        """All findings, for a terminal."""
        blocks = [self.heading(), *(self._block(finding) for finding in self.findings), self.caveat(), self.verdict()]
        return "\n\n".join(filter(None, blocks))

    def _block(self, finding: Finding) -> str:
        about = finding.about
        files = list_briefly([self.describe(case) for case in finding.cases], separator="; ")
        lines = [f"{about.title}: {len(finding.cases)}", files, about.explanation, f"Remedy: {about.remedy}"]
        label = f"{finding.severity:9}"
        wrapped = [part for line in lines for part in textwrap.wrap(line, WIDTH, break_on_hyphens=False)]
        return label + textwrap.indent("\n".join(wrapped), " " * len(label)).lstrip()

    def describe(self, case: Case) -> str:
        """A case in a line."""
        files = " + ".join(self.relative(path) for path in case.files[:4])
        more = f" + {len(case.files) - 4} more" if len(case.files) > 4 else ""
        return f"{files}{more} ({case.detail})" if files and case.detail else files + more or case.detail

    def to_json(self) -> dict[str, Any]:
        """All findings with all files."""
        survey = self.examined.survey
        return {
            "data": str(survey.root),
            "layout": survey.layout,
            "splits": self.splits,
            "clean": self.clean,
            "models": self.models,
            "findings": [self._finding_json(finding) for finding in self.findings],
            "ranking": [
                {
                    "files": [self.relative(path) for path in verdict.case.files],
                    "dice": verdict.dice,
                    "sure_dice": verdict.sure_dice,
                }
                for verdict in self.ranking
            ],
        }

    def _finding_json(self, finding: Finding) -> dict[str, Any]:
        about = finding.about
        return {
            "kind": finding.kind,
            "title": about.title,
            "severity": finding.severity,
            "count": len(finding.cases),
            "explanation": about.explanation,
            "remedy": about.remedy,
            "cases": [
                {"files": [self.relative(path) for path in case.files], "detail": case.detail} for case in finding.cases
            ],
        }


def write_json(report: Report, path: Path) -> None:
    """Write all findings with all files.

    Raises:
        FiguregroundError: it cannot be written.
    """
    write_figures(path, report.to_json())


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
