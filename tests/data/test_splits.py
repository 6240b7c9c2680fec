"""Who is in which split: exact shares, strata, and what stays together."""

import itertools
import json
import logging
import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from figureground import data
from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset, splits
from figureground.data.dataset import Entry
from figureground.data.sources import open_source
from figureground.data.sources.folder import grouping
from figureground.data.splits import SHARES, Member, divide, divide_source, split_by_name
from figureground.errors import FiguregroundError, UsageError

ANY = DataConfig("pictures")


def members(n, share=lambda index: 0.5, group=lambda index: None):
    return [Member(f"photo-{index}", group(index), share(index)) for index in range(n)]


def counts(parts):
    return [sum(part == index for part in parts.values()) for index in range(len(SHARES))]


# Shares


@pytest.mark.parametrize("n", range(3, 201))
def test_shares_are_exact(n):
    rng = np.random.default_rng(n)
    parts = divide(members(n, lambda _: rng.random()), SHARES)
    assert len(parts) == n
    train, valid, test = counts(parts)
    assert min(train, valid, test) >= 1
    assert abs(valid - n / 10) < 1
    assert abs(test - n / 10) < 1
    assert abs(train - 0.8 * n) < (2 if n < 10 else 1.01)  # what valid and test are rounded by, together


def test_known_counts():
    found = {n: counts(divide(members(n), SHARES)) for n in (3, 4, 10, 15, 24, 100)}
    assert found == {
        3: [1, 1, 1], 4: [2, 1, 1], 10: [8, 1, 1], 15: [11, 2, 2], 24: [20, 2, 2], 100: [80, 10, 10]
    }  # fmt: skip


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.7, 0.1, 0.1, 0.1), (0.6, 0.4)])
def test_other_shares(shares):
    parts = divide(members(50), shares)
    assert [sum(part == index for part in parts.values()) for index in range(len(shares))] == [
        round(50 * share) for share in shares
    ]


# Strata


def test_each_part_has_its_images_from_all_over_the_range():
    """One in ten shows a large figure: names alone give a part of ten with none, or with four."""
    rng = np.random.default_rng(3)
    skewed = members(100, lambda index: 0.9 if index % 10 == 0 else 0.05 * rng.random())
    whole = np.mean([member.share for member in skewed])
    parts = divide(skewed, SHARES)
    means = [np.mean([member.share for member in skewed if parts[member.name] == part]) for part in range(3)]
    assert means == pytest.approx([whole] * 3, abs=0.01)
    by_name = [np.mean([member.share for member in skewed if split_by_name(member.name) == split]) for split in SPLITS]
    assert max(abs(mean - whole) for mean in by_name) > 0.02


def test_images_are_drawn_from_their_stratum_by_name_and_not_by_place():
    """Otherwise the smallest figure of each stratum would be the one that is tested with."""
    by_share = members(1000, lambda index: index / 1000)
    parts = divide(by_share, SHARES)
    for part in (1, 2):
        inside = np.array([round(1000 * member.share) % 10 for member in by_share if parts[member.name] == part])
        assert inside.mean() == pytest.approx(4.5, abs=1)
        assert len(set(inside.tolist())) > 7


# Groups


def one_part_each(parts, group_of):
    by_group = {}
    for name, part in parts.items():
        by_group.setdefault(group_of[name], set()).add(part)
    return all(len(found) == 1 for found in by_group.values())


@pytest.mark.parametrize("sizes", [[20] * 3, [20] * 4, [12] * 5, [6] * 10, [40, 10, 6, 4], [1] * 30 + [30]])
def test_60_slices_of_few_patients(sizes):
    patients = [patient for patient, size in enumerate(sizes) for _ in range(size)]
    slices = members(60, lambda index: index / 60, lambda index: f"patient {patients[index]}")
    parts = divide(slices, SHARES)
    assert one_part_each(parts, {member.name: member.group for member in slices})
    train, valid, test = counts(parts)
    assert min(valid, test) >= 1
    assert train >= max(valid, test)
    if min(sizes) <= 6 <= max(sizes) and len(sizes) >= 10:
        assert (train, valid, test) == (48, 6, 6)


@pytest.mark.parametrize("singles", [2, 3, 5])
def test_no_part_is_empty_beside_one_large_group(singles):
    large = members(60 - singles, group=lambda _: "film") + [Member(f"other-{n}", None, 0.1) for n in range(singles)]
    train, valid, test = counts(divide(large, SHARES))
    assert min(train, valid, test) >= 1
    assert train >= 60 - singles


@pytest.mark.parametrize("seed", range(40))
def test_random_groups(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 120))
    group = rng.integers(0, int(rng.integers(3, 40)), n)
    alone = rng.random(n) < rng.choice([0.0, 0.3, 0.9])
    mixed = members(n, lambda index: rng.random(), lambda index: None if alone[index] else f"g{group[index]}")
    units = len({member.group or member.name for member in mixed})
    if units < 3:
        pytest.skip("cannot be divided")
    parts = divide(mixed, SHARES)
    assert set(parts) == {member.name for member in mixed}
    assert one_part_each(parts, {member.name: member.group or member.name for member in mixed})
    assert min(counts(parts)) >= 1


@pytest.mark.parametrize(
    "group", [lambda index: None, lambda index: f"patient {index % 7}", lambda index: index // 2 or None]
)
def test_the_order_of_members_does_not_matter(group):
    mixed = members(50, lambda index: index % 5 / 5, group)
    expected = divide(mixed, SHARES)
    for seed in range(5):
        shuffled = random.Random(seed).sample(mixed, len(mixed))
        assert divide(shuffled, SHARES) == expected


# Sources


def draw_picture(seed):
    """Smooth noise that is another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)


def draw_mask(share):
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 64, round(64 * share)))
    return mask


@pytest.fixture
def folder(tmp_path):
    """What adds pictures to a folder, by name and seed; in it, none yet."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()

    def add(name, picture, share=0.5):
        for kind, content in (("images", picture), ("masks", draw_mask(share))):
            path = tmp_path / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            content.save(path)

    add.root = tmp_path
    return add


def names(root, **settings):
    """The names of each split."""
    config = DataConfig(str(root), **settings)
    return {split: list(open_dataset(config, split).names) for split in SPLITS}


def split_of(root, **settings):
    return {name: split for split, found in names(root, **settings).items() for name in found}


def fill(folder, n=20):
    for index in range(n):
        folder(f"{index:02}", draw_picture(index), 0.2 + 0.03 * index)


def test_a_folder_is_divided_by_exact_shares(folder, caplog):
    fill(folder)
    with caplog.at_level(logging.INFO, logger="figureground"):
        found = names(folder.root)
    assert [len(found[split]) for split in SPLITS] == [16, 2, 2]
    assert sorted(itertools.chain(*found.values())) == [f"{index:02}" for index in range(20)]
    assert all(part == sorted(part) for part in found.values())
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"{folder.root.name}: 20 images, divided into 16 train, 2 valid, 2 test; with fewer than 30 images the test "
        "score depends on the division: cross-validate with figureground train --folds 5"
    ]


def test_a_division_depends_on_names_and_content_alone(folder, tmp_path_factory):
    fill(folder)
    other = tmp_path_factory.mktemp("other machine") / "data"
    expected = split_of(folder.root, cache="off")
    (folder.root / "images").parent.rename(other)
    assert split_of(other, cache="off") == expected


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_images_cannot_be_divided(folder, n):
    fill(folder, n)
    with pytest.raises(FiguregroundError, match=rf"has {n} images; expected at least 3, one each to train"):
        open_dataset(folder.root, "train")


def test_three_images_can(folder):
    fill(folder, 3)
    assert [len(part) for part in names(folder.root).values()] == [1, 1, 1]


CHANGES = {
    "same": lambda picture: picture,
    "paler": lambda picture: picture.point(lambda value: int(value * 0.6 + 60)),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "smaller": lambda picture: picture.resize((32, 32)).resize((64, 64)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_near_duplicates_stay_together(folder, change, caplog):
    """Ten pictures, each twice."""
    for index in range(10):
        picture = draw_picture(index)
        folder(f"a{index}", picture, 0.1 * index)
        folder(f"b{index}", change(picture), 0.9 - 0.1 * index)
    with caplog.at_level(logging.INFO, logger="figureground"):
        found = split_of(folder.root)
    assert all(found[f"a{index}"] == found[f"b{index}"] for index in range(10))
    assert Counter(found.values()) == {"train": 16, "valid": 2, "test": 2}
    assert "20 near duplicates are kept on one side" in caplog.text


def test_groups_that_share_near_duplicates_become_one(folder):
    for patient in range(8):
        for index in range(3):
            folder(f"p{patient}_{index}", draw_picture(10 * patient + index))
    folder("p1_0", draw_picture(70))  # patient 7 is there twice
    found = split_of(folder.root, group="^p.")
    assert len({found[f"p{patient}_{index}"] for patient in (1, 7) for index in range(3)}) == 1
    assert all(len({found[f"p{patient}_{index}"] for index in range(3)}) == 1 for patient in range(8))


def test_a_film_is_divided_all_the_same(folder, caplog):
    for index in range(20):
        folder(f"{index:02}", draw_picture(0))
    with caplog.at_level(logging.WARNING):
        assert [len(part) for part in names(folder.root).values()] == [16, 2, 2]
    assert "nearly all images are near duplicates" in caplog.text


def test_two_others_beside_a_film(folder):
    for index in range(18):
        folder(f"{index:02}", draw_picture(0))
    folder("cat", draw_picture(1))
    folder("dog", draw_picture(2))
    assert [len(part) for part in names(folder.root).values()] == [18, 1, 1]


class Reordered:
    """A source with its entries in another order."""

    def __init__(self, source, seed):
        self.kind, self.name, self.foreground = source.kind, source.name, source.foreground
        self.entries = random.Random(seed).sample(source.entries, len(source.entries))
        self.read, self.targets, self.stamp = source.read, source.targets, source.stamp


def by_name(source, config):
    return {entry.name: split for split, found in divide_source(source, config).items() for entry in found}


@pytest.mark.parametrize("group", [None, "^.", "folder"])
def test_the_order_of_entries_does_not_matter(folder, group):
    """With single pictures, pairs of near duplicates, of which not all fit into one part, and groups of names."""
    for index in range(4):
        folder(f"{'abcd'[index]}/{index:02}", draw_picture(index))
    for index in range(4, 40):
        folder(f"x{index}/{index:02}", draw_picture(index % 18 + 50), 0.1 + 0.02 * index)
    config = DataConfig(str(folder.root), cache="off", group=group)
    source = open_source(config)
    expected = by_name(source, config)
    assert len(expected) == 40
    for seed in range(4):
        assert by_name(Reordered(source, seed), config) == expected


# Splits that are there already


class Listed:
    """A source whose samples somebody has divided, or a part of them."""

    kind, name, foreground = "folder", "listed", "foreground"

    def __init__(self, given):
        self.entries = [Entry(f"{index}", None, None, split) for index, split in enumerate(given)]

    def refuse(self, *_):
        raise AssertionError("read")

    read = targets = stamp = refuse


@pytest.mark.parametrize("config", [ANY, DataConfig("pictures", split="names"), DataConfig("pictures", group="^.")])
def test_official_splits_are_untouched(config):
    given = ["test", "train", "train", "valid", "test", "train"]
    found = divide_source(Listed(given), config)
    assert {split: [entry.name for entry in entries] for split, entries in found.items()} == {
        "train": ["1", "2", "5"], "valid": ["3"], "test": ["0", "4"]
    }  # fmt: skip


def test_one_image_of_the_users_own_split_is_enough(folder):
    for split in SPLITS:
        folder(f"{split}/cat", draw_picture(0))
    assert names(folder.root) == {split: ["cat"] for split in SPLITS}


@pytest.mark.parametrize("config", [ANY, DataConfig("pictures", split="names")])
def test_a_partly_official_division_is_refused(config):
    with pytest.raises(FiguregroundError) as caught:
        divide_source(Listed(["test", None, "train", None]), config)
    assert str(caught.value) == "listed: 2 of 4 samples have no split: 1, 3; give all of them one, or none"


def test_a_part_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(data, "open_source", lambda config: Listed(["train", "valid", "valid"]))
    with pytest.raises(FiguregroundError, match="pictures is divided into train, valid, but has no test; add a test"):
        open_dataset("pictures", "test")


# Stored divisions


def test_a_folder_is_looked_at_once(folder, divisions, monkeypatch):
    fill(folder)
    expected = split_of(folder.root)
    (path,) = divisions.iterdir()
    assert json.loads(path.read_text()) == {"splits": expected, "duplicates": 0}
    monkeypatch.setattr(splits, "_look", lambda *_: pytest.fail("looked at"))
    assert split_of(folder.root) == expected


def test_a_folder_that_changed_is_looked_at_again(folder, divisions):
    fill(folder)
    split_of(folder.root)
    folder("20", draw_picture(20))
    assert len(split_of(folder.root)) == 21
    assert len(split_of(folder.root, group="^.")) == 21
    assert len(list(divisions.iterdir())) == 3


def test_it_is_stored_in_the_cache_that_is_named(folder, divisions, tmp_path_factory):
    fill(folder)
    own = tmp_path_factory.mktemp("own")
    expected = split_of(folder.root, cache=str(own))
    assert len(list((own / "splits").iterdir())) == 1
    assert split_of(folder.root, cache="off") == expected
    assert not divisions.exists()


GARBLED = [
    b"", b"{", b"\xff\xfe", b"[]", b"null", b"3", b"{}", b'{"duplicates": 0}',
    b'{"splits": {}, "duplicates": 0}', b'{"splits": [1], "duplicates": 0}',
]  # fmt: skip


@pytest.mark.parametrize("content", GARBLED)
def test_a_damaged_division_is_made_again(folder, divisions, content):
    fill(folder)
    expected = split_of(folder.root)
    (path,) = divisions.iterdir()
    good = path.read_bytes()
    path.write_bytes(content)
    assert split_of(folder.root) == expected
    assert path.read_bytes() == good


@pytest.mark.parametrize("change", [
    lambda found: found["splits"].update({"00": "dev"}),
    lambda found: found["splits"].update({"00": ["train"]}),
    lambda found: found["splits"].pop("00"),
    lambda found: found["splits"].update({"spare": "train"}),
    lambda found: found.pop("duplicates"),
])  # fmt: skip
def test_a_division_of_other_content_is_made_again(folder, divisions, change):
    fill(folder)
    expected = split_of(folder.root)
    (path,) = divisions.iterdir()
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    assert split_of(folder.root) == expected


def test_a_cache_that_cannot_be_written_is_no_hindrance(folder, tmp_path_factory):
    fill(folder)
    file = tmp_path_factory.mktemp("file") / "file"
    file.touch()
    assert len(split_of(folder.root, cache=str(file))) == 20


def test_broken_files_do_not_hinder_a_division(folder):
    """They are named when they are read."""
    fill(folder)
    for kind, name in (("images", "03"), ("masks", "05")):
        (folder.root / kind / f"{name}.png").write_bytes(b"PNG")
    assert [len(part) for part in names(folder.root).values()] == [16, 2, 2]


# By names


def test_by_names_an_image_stays_where_it_is(folder, divisions):
    fill(folder)
    before = split_of_those_there(folder.root)
    assert before == {name: split_by_name(name) for name in before}
    for index in range(20, 40):
        folder(f"{index:02}", draw_picture(index))
    after = split_of_those_there(folder.root)
    assert {name: after[name] for name in before} == before
    assert not divisions.exists()


def split_of_those_there(root):
    config = DataConfig(str(root), split="names")
    return by_name(open_source(config), config)


# Names of groups


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, [None, None, None]),
        ("folder", ["p1/left", "p12", None]),
        ("^p[0-9]+", ["p1", "p12", None]),
        (r"p([0-9]+)/", ["1", "12", None]),
        (r"slice(\d)\d", ["0", "0", None]),
        (r"(?:p)(\d)", ["1", "1", None]),
        (r"(zebra)?slice", [None, None, None]),
    ],
)
def test_groups_of_names(pattern, expected):
    group_of = grouping(pattern)
    assert [group_of(name) for name in ("p1/left/slice03", "p12/slice03", "cat")] == expected


@pytest.mark.parametrize("pattern", ["(", "[", "*a", "(?P<a"])
def test_a_pattern_that_is_none(folder, pattern):
    fill(folder, 3)
    with pytest.raises(UsageError) as caught:
        open_dataset(DataConfig(str(folder.root), group=pattern), "train")
    assert str(caught.value).startswith(f"group {pattern!r} is no regular expression (")
    assert str(caught.value).endswith("expected one such as '^[^_]+'")


@pytest.mark.parametrize("group", ["folder", "^[^/]+", r"patient(\d)"])
def test_groups_of_a_folder_stay_together(folder, group):
    for index in range(60):
        folder(f"patient{index // 15}/{index:02}", draw_picture(index), 0.01 * index)
    found = names(folder.root, group=group)
    patients = {split: {name.partition("/")[0] for name in part} for split, part in found.items()}
    assert {split: len(part) for split, part in patients.items()} == {"train": 2, "valid": 1, "test": 1}
    assert sum(len(part) for part in patients.values()) == len(set.union(*patients.values()))


def test_two_groups_cannot_be_divided(folder):
    for index in range(10):
        folder(f"{'ab'[index % 2]}/{index:02}", draw_picture(index))
    with pytest.raises(FiguregroundError, match=r"the images are of 2 groups \(a, b\); expected at least 3, one each"):
        open_dataset(DataConfig(str(folder.root), group="folder"), "train")


# A part that is not there


def divided_by_somebody(root, train, test=2, seed=0):
    """Pictures of two patients and single ones in train, others in test."""
    for split, count in (("train", train), ("test", test)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            pixels = np.random.default_rng([seed, index, count]).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(root / "images" / split / f"p{min(index // 3, 2)}-{index}.png")
            Image.fromarray(pixels[..., 0] > 127).save(root / "masks" / split / f"p{min(index // 3, 2)}-{index}.png")
    return root


@pytest.mark.parametrize(("train", "valid"), [(2, 1), (9, 1), (18, 2), (27, 3)])
@pytest.mark.parametrize("split", ["shares", "names"])
def test_a_ninth_of_train_is_valid_where_there_is_none(tmp_path, caplog, train, valid, split):
    caplog.set_level("INFO")
    root = divided_by_somebody(tmp_path / "set", train)
    config = DataConfig(str(root), split=split)
    parts = divide_source(open_source(config), config)
    names = {split: {entry.name for entry in entries} for split, entries in parts.items()}
    assert len(names["test"]) == 2
    assert len(names["train"] | names["valid"]) == train
    assert not names["train"] & names["valid"]
    if split == "shares":
        assert len(names["valid"]) == valid
        line = f"set has no valid: {valid} of the {train} images of train are taken for it"
        assert list(open_dataset(config, "valid").names) == [entry.name for entry in parts["valid"]]
        assert caplog.text.count(line) == 1


def test_groups_of_train_stay_together_and_those_that_others_parted_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    root = divided_by_somebody(tmp_path / "set", 27)
    config = DataConfig(str(root), group="^p[01]-")
    parts = divide_source(open_source(config), config)
    for group in ("p0-", "p1-"):
        assert len({split for split in ("train", "valid") for e in parts[split] if e.group == group}) == 1
    assert "set: 1 groups are in several splits: p0-; scores are too good then" in caplog.text


def test_nothing_is_taken_of_train_where_that_does_not_help(tmp_path):
    root = divided_by_somebody(tmp_path / "set", 1)
    assert len(open_dataset(str(root), "train")) == 1
    with pytest.raises(FiguregroundError, match="is divided into train, test, but has no valid; add a valid part"):
        open_dataset(str(root), "valid")


def test_train_is_not_looked_at_for_test(tmp_path, divisions):
    root = divided_by_somebody(tmp_path / "set", 9)
    assert len(open_dataset(str(root), "test")) == 2
    assert not divisions.exists()
    assert len(open_dataset(str(root), "valid")) == 1
    assert divisions.exists()


@pytest.mark.parametrize("group", ["folder", "^[^/]+"])
def test_groups_stay_together_where_names_divide(tmp_path, group):
    for patient in range(30):
        for kind in ("images", "masks"):
            (tmp_path / kind / f"p{patient}").mkdir(parents=True)
            for number in range(3):
                pixels = np.full((4, 4), 255 * (number % 2), np.uint8)
                Image.fromarray(pixels).save(tmp_path / kind / f"p{patient}" / f"{number}.png")
    config = DataConfig(str(tmp_path), group=group, split="names")
    patients = [{name.partition("/")[0] for name in open_dataset(config, split).names} for split in SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 30
