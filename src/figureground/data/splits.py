"""Who is in which split: as the source says, by exact shares, or by the names alone.

Shares are exact and the same for the same files on every machine. Each part gets its images from all over the range of
the figure's share, and what belongs together stays together: groups that the user names, and near duplicates.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from figureground.config import DataConfig
from figureground.cores import READERS, usable_cores
from figureground.data.dataset import FIGURE, FULL, SPLITS, Entry, Source, Split, fingerprint, list_briefly, say
from figureground.data.duplicates import THUMBNAIL, join, near_pairs, thumbnail
from figureground.errors import BadDataError, FiguregroundError
from figureground.files import CACHE_FOLDER, replacing
from figureground.images import read_reduced

SHARES = (0.8, 0.1, 0.1)
"""Of train, valid and test."""
VALID_OF_TRAIN = (8 / 9, 1 / 9)
"""Of train and valid, where the source has train and test alone."""
FEW = 30
"""Images below which one division says little."""
VERSION = 1  # of the stored divisions: raise it when the rules change
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """What decides where a sample goes."""

    name: str
    group: str | None
    share: float
    """Of its pixels that are figure."""


def divide_source(source: Source, config: DataConfig, wanted: Split | None = None) -> dict[Split, list[Entry]]:
    """The entries of a source by split, each in the source's order.

    Where the source says who is in train and test but has no valid, a ninth of train is. Of folds the one that is held
    out is test, and of the others a ninth is valid; without ``config.fold`` all that is in them is train. What a source
    says is test is in none.

    Args:
        source: who is to be divided.
        config: how.
        wanted: the only split that is asked for, if it is one; others may be left as the source has them.

    Raises:
        FiguregroundError: some samples have a split and others have none, or there are too few to divide.
    """
    entries = source.entries
    without = [entry.name for entry in entries if entry.split is None]
    if without and len(without) < len(entries):
        raise BadDataError(
            f"{source.name}: {len(without)} of {len(entries)} samples have no split: {list_briefly(without)}; "
            "give all of them one, or none"
        )
    if config.cross_validates:  # all that is not held back from every fold
        return {"train": [e for e in entries if e.split != "test"], "test": [e for e in entries if e.split == "test"]}
    if without or config.folds:
        return _divide_anew(source, [e for e in entries if e.split != "test"], SHARES, config)
    given = {split: [entry for entry in entries if entry.split == split] for split in SPLITS}
    _warn_of_groups(source.name, given)
    if wanted == "test" or given["valid"] or not given["test"] or len(given["train"]) < len(VALID_OF_TRAIN):
        return given
    return {**_divide_anew(source, given["train"], VALID_OF_TRAIN, config), "test": given["test"]}


def _divide_anew(
    source: Source, entries: Sequence[Entry], shares: Sequence[float], config: DataConfig
) -> dict[Split, list[Entry]]:
    """Entries of a source in the first splits, as many as there are shares."""
    if config.split == "shares":
        folder = None if config.cache == "off" else Path(config.cache) if config.cache != "auto" else CACHE_FOLDER
        fold = (config.fold, config.folds) if config.fold and config.folds else None
        splits = _stored(source, entries, shares, folder, fold)
    else:
        keys = {entry.name: entry.name if entry.group is None else entry.group for entry in entries}
        if len(shares) == len(SHARES):
            splits = {name: split_by_name(key) for name, key in keys.items()}
        else:
            splits = {name: "valid" if _hash(key) % 9 == 8 else "train" for name, key in keys.items()}
    return {split: [entry for entry in entries if splits[entry.name] == split] for split in SPLITS}


def _warn_of_groups(name: str, given: Mapping[Split, Sequence[Entry]]) -> None:
    """A group in several splits is a leak, but who has divided them may have meant it."""
    groups = [{entry.group for entry in entries if entry.group is not None} for entries in given.values()]
    shared = sorted(group for group in set().union(*groups) if sum(group in own for own in groups) > 1)
    if shared:
        say(f"{name}: {len(shared)} groups are in several splits: {list_briefly(shared)}; scores are too good then")


def split_by_name(name: str) -> Split:
    """The split of an image by its name alone: 80% train, 10% valid, 10% test."""
    tenth = _hash(name) % 10
    return "valid" if tenth == 8 else "test" if tenth == 9 else "train"


def divide_fold(name: str, members: Sequence[Member], fold: int, folds: int) -> dict[str, int]:
    """Which of ``SPLITS`` each sample goes to, by name, where one of several folds is held out as test.

    Raises:
        BadDataError: a fold has no figure, or leaves too little to train with; ``name``, of the data, is for that.
    """
    sizes = [len(range(number, len(members), folds)) for number in range(folds)]
    parts = _divide(members, sizes)
    for number in range(folds):
        held_out = [member for member in members if parts[member.name] == number]
        others = [member for member in members if parts[member.name] != number]
        if not any(member.share for member in held_out):
            raise BadDataError(
                f"{name}: fold {number + 1} of {folds} has no figure in any of its {len(held_out)} images; expected "
                "one in each fold. Give fewer --folds, or other groups"
            )
        if _units([member.group for member in others]) < len(VALID_OF_TRAIN):
            raise BadDataError(
                f"{name}: fold {number + 1} of {folds} leaves {len(others)} images, of one group; expected two at "
                "least, to train and to choose with. Add images with masks, or give more --folds"
            )
    inner = divide([member for member in members if parts[member.name] != fold - 1], VALID_OF_TRAIN)
    return {member.name: inner.get(member.name, SPLITS.index("test")) for member in members}


def divide(members: Sequence[Member], shares: Sequence[float]) -> dict[str, int]:
    """Which part each sample goes to, by name.

    Single samples are sorted by the figure's share and cut into as many strata as a part has places; each stratum gives
    one, the one whose name has the lowest hash. Groups go before, the largest first, each to the part that lacks most.

    Args:
        members: at least as many as there are shares.
        shares: of each part; they sum to 1. The first takes what remains, and no part is empty.
    """
    return _divide(members, _places(len(members), shares))


def _divide(members: Sequence[Member], sizes: Sequence[int]) -> dict[str, int]:
    """The same by how many samples each part gets, as far as groups allow."""
    left = list(sizes)
    together: dict[str, list[Member]] = {}
    for member in members:
        key = f"name {member.name}" if member.group is None else f"group {member.group}"
        together.setdefault(key, []).append(member)
    several = sorted(
        (key for key, group in together.items() if len(group) > 1), key=lambda k: (-len(together[k]), _hash(k))
    )
    parts: dict[str, int] = {}
    for number, key in enumerate(several):
        empty = sorted(set(range(len(left))) - set(parts.values()))
        must_fill = len(together) - number <= len(empty)  # as many groups and single samples as empty parts remain
        part = max(empty if must_fill else range(len(left)), key=lambda index: left[index])
        parts |= {member.name: part for member in together[key]}
        left[part] -= len(together[key])
    single = sorted(
        (group[0] for group in together.values() if len(group) == 1), key=lambda m: (m.share, _hash(m.name))
    )
    for part in range(1, len(left)):
        still_empty = set(range(len(left))) - set(parts.values()) - {part}  # which need one each
        places = min(left[part], len(single) - len(still_empty))
        strata = np.array_split(np.arange(len(single)), places) if places > 0 else []
        for stratum in strata:
            if len(stratum):
                chosen = min((single[index] for index in stratum), key=lambda m: _hash(f"{part} {m.name}"))
                parts[chosen.name] = part
        single = [member for member in single if member.name not in parts]
    return parts | {member.name: 0 for member in single}


def _places(count: int, shares: Sequence[float]) -> list[int]:
    """How many samples each part gets: rounded shares, at least one; the first part takes the rest."""
    others = [max(1, int(share * count + 0.5)) for share in shares[1:]]
    return [count - sum(others), *others]


Fold = tuple[int, int]
"""Which is held out, and of how many."""


def _stored(
    source: Source, entries: Sequence[Entry], shares: Sequence[float], folder: Path | None, fold: Fold | None = None
) -> dict[str, Split]:
    """The division of entries by shares, or into what a fold holds out and the rest, from the cache in ``folder`` if
    these files were divided before.
    """
    if fold and len(entries) < fold[1]:
        raise BadDataError(
            f"{source.name} has {len(entries)} images for {fold[1]} folds; expected at least one for each. Give fewer "
            "--folds, or add images with masks"
        )
    if len(entries) < len(shares):
        raise BadDataError(
            f"{source.name} has {len(entries)} images; expected at least {len(shares)}, one each to train, choose "
            "and test with. Add images with masks, or divide them yourself: images/train, images/valid, images/test"
        )
    key = fingerprint(source, entries, f"{VERSION} {[entry.group for entry in entries]} {len(shares)}{fold or ''}")
    path = folder / "splits" / f"{key[:24]}.json" if folder else None
    names = {entry.name for entry in entries}
    # Not there, or damaged: it is made again.
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        if path is not None:
            found = json.loads(path.read_text("utf-8"))
            if set(found["splits"]) == names and set(found["splits"].values()) <= set(SPLITS[: len(shares)]):
                _say(source.name, tuple(found["splits"].items()), found["duplicates"], fold)
                return dict(found["splits"])
    splits, duplicates = _divided(source, entries, shares, fold)
    _say(source.name, tuple(splits.items()), duplicates, fold)
    if path is not None:
        with suppress(FiguregroundError), replacing(path) as partial:  # only a convenience
            partial.write_text(json.dumps({"splits": splits, "duplicates": duplicates}), "utf-8")
    return splits


def _divided(
    source: Source, entries: Sequence[Entry], shares: Sequence[float], fold: Fold | None
) -> tuple[dict[str, Split], int]:
    """The split of each sample, and how many of them are near duplicates that stay together."""
    with ThreadPoolExecutor(min(READERS, usable_cores())) as pool:
        looks = list(pool.map(lambda entry: _look(source, entry), entries))
    alike = join(len(looks), near_pairs(np.stack([small for _, small in looks])))
    own = [entry.group for entry in entries]
    groups, needed = _joined([entry.name for entry in entries], own, alike), fold[1] if fold else len(shares)
    if _units(groups) < needed:  # a film, say: dividing it is better than not training
        log.warning("%s: nearly all images are near duplicates; they are divided as if they were not", source.name)
        groups, alike = own, []
    if _units(groups) < needed:
        named = list_briefly(sorted({group for group in own if group}))
        purpose = "a fold" if fold else f"for {', '.join(SPLITS[: len(shares)])}"
        raise BadDataError(
            f"{source.name}: the images are of {_units(groups)} groups ({named}); expected at least {needed}, "
            f"one each {purpose}. Give another --group"
        )
    members = [
        Member(entry.name, group, share) for entry, group, (share, _) in zip(entries, groups, looks, strict=True)
    ]
    parts = divide_fold(source.name, members, *fold) if fold else divide(members, shares)
    return {name: SPLITS[part] for name, part in parts.items()}, sum(map(len, alike))


def _units(groups: Sequence[str | None]) -> int:
    """How many groups and single samples there are."""
    return len(set(groups) - {None}) + sum(group is None for group in groups)


def _look(source: Source, entry: Entry) -> tuple[float, NDArray[np.uint8]]:
    """The share of figure and a grey thumbnail of a sample; nothing and black where it cannot be read: it is named in
    its turn.
    """
    share, small = 0.0, np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)
    with suppress(FiguregroundError):
        share = float(source.targets(entry)[FIGURE].mean() / FULL)
    with suppress(FiguregroundError):
        seen, _ = read_reduced(entry.picture, (THUMBNAIL, THUMBNAIL))
        small = thumbnail(seen)
    return share, small


def _joined(entries: Sequence[str], groups: Sequence[str | None], alike: Sequence[Sequence[int]]) -> list[str | None]:
    """Groups of samples where near duplicates are of one group too, and groups that share one become one."""
    names: list[str | None] = list(groups)
    for together in alike:
        own = {names[member] for member in together} - {None}
        joined = min(own) if own else f"near duplicates of {min(entries[place] for place in together)}"  # type: ignore[type-var]
        names = [
            joined if place in together or (name is not None and name in own) else name
            for place, name in enumerate(names)
        ]
    return names


def _say(name: str, splits: tuple[tuple[str, Split], ...], duplicates: int, fold: Fold | None = None) -> None:
    counts = {split: sum(found == split for _, found in splits) for split in SPLITS}
    line = f"{name}: {len(splits)} images, divided into " + ", ".join(
        f"{n} {split}" for split, n in counts.items() if n
    )
    if fold:
        line = (
            f"{name}, fold {fold[0]} of {fold[1]}: {counts['test']} images held out, {counts['train']} to train and "
            f"{counts['valid']} to choose with"
        )
    elif not counts["test"]:
        line = f"{name} has no valid: {counts['valid']} of the {len(splits)} images of train are taken for it"
    if duplicates:
        line += f"; {duplicates} near duplicates are kept on one side"
    if len(splits) < FEW and not fold:
        line += (
            f"; with fewer than {FEW} images the test score depends on the division: cross-validate with "
            f"figureground train --folds {min(5, len(splits))}"
        )
    say(line)


def _hash(name: str) -> int:
    return int(hashlib.sha256(os.fsencode(name)).hexdigest(), 16)
