"""A plan: from what a dataset is like to the settings of a training, with a reason for each choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from figureground.config import DataConfig, TrainConfig, merge, parse
from figureground.data import open_dataset
from figureground.plan.fingerprint import Fingerprint, fingerprint
from figureground.plan.machine import Machine, this_machine
from figureground.plan.rules import ENCODER, RULES, Choice, next_choice
from figureground.settings import flat, put

__all__ = ["Fingerprint", "Machine", "Plan", "fingerprint", "make_plan", "planned"]
MINUTES = 10.0
"""That a training takes unless something else is asked for."""


@dataclass(frozen=True)
class Plan:
    """What was chosen."""

    found: Fingerprint
    machine: Machine
    choices: tuple[Choice, ...]
    settings: Mapping[str, Any]
    """Nested, as ``parse`` takes them: what was chosen, and over it what the user has set."""

    next: Mapping[str, Any]
    """By dotted name, what is chosen instead where nothing is learned; of what the user has set nothing."""

    def config(self) -> TrainConfig:
        """All settings.

        Raises:
            BadSettingsError: what the user has set is wrong.
        """
        return parse(TrainConfig, self.settings, "plan")

    def otherwise(self) -> TrainConfig | None:
        """All settings with the next choice; none where there is no other."""
        other: dict[str, Any] = {}
        for path, value in self.next.items():
            put(other, path, value)
        return parse(TrainConfig, merge(self.settings, other), "plan") if other else None

    def lines(self) -> list[str]:
        """For people: what the data are like, and each choice with its reason."""
        return [str(self.found), str(self.machine), *(choice.says for choice in self.choices if choice.says)]


def planned(given: Mapping[str, Any]) -> Plan:
    """Look at the training images and at this machine, and choose what the user has not set.

    Args:
        given: nested settings that the user has set. Without ``epochs`` and ``minutes`` it is planned for ``MINUTES``.

    Raises:
        FiguregroundError: the data cannot be read.
    """
    data = parse(DataConfig, given.get("data", {}), "data")
    if not {"minutes", "epochs"} & set(given):
        given = {**given, "minutes": MINUTES}
    encoder = given.get("model", {}).get("encoder") or ENCODER
    machine = this_machine(encoder, given.get("device", "auto"))
    return make_plan(fingerprint(open_dataset(data, "train")), machine, given)


def make_plan(found: Fingerprint, machine: Machine, given: Mapping[str, Any]) -> Plan:
    """Apply the rules; a pure function.

    Args:
        found: what the data are like.
        machine: what there is to compute with.
        given: nested settings that the user has set: no rule changes them.
    """
    by_hand = flat(given)
    settled = dict(by_hand)
    choices = []
    for rule in RULES:
        choice = rule(found, machine, settled)
        chosen = {path: value for path, value in choice.settings.items() if path not in by_hand}
        settled |= chosen
        if chosen or not choice.settings:
            overruled = [f"{path} {by_hand[path]}" for path in choice.settings if path in by_hand]
            says = f"{choice.says}; but as set: {', '.join(overruled)}" if overruled else choice.says
            choices.append(Choice(chosen, says))
    settings: dict[str, Any] = {}
    chosen_by_rules = {path: value for each in choices for path, value in each.settings.items()}
    for path, value in (chosen_by_rules | by_hand).items():
        put(settings, path, value)
    instead = {path: value for path, value in next_choice(settled).items() if path not in by_hand}
    return Plan(found, machine, tuple(choices), settings, instead)
