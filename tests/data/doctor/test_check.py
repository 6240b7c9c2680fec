"""Every fault is planted in a clean set, and exactly that finding is expected."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw, ImageFilter, ImageOps

from figureground.config import DataConfig
from figureground.data import SPLITS, open_dataset
from figureground.data.doctor import KINDS, check
from figureground.errors import FiguregroundError

from .conftest import SIZE, WIDTH, draw_image, draw_mask


def kinds(root, **settings):
    """Kind to count."""
    return {finding.kind: len(finding.cases) for finding in check(DataConfig(str(root), **settings)).findings}


def save_exif(image, path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(path, exif=exif)


def change_masks(folder, change):
    for path in folder.masks:
        with Image.open(path) as mask:
            changed = change(mask)
        changed.save(path)


def levels(table):
    """A mask with other values."""
    return lambda mask: mask.point(lambda value: table.get(value, value))


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_a_clean_folder_gives_nothing(clean_folder):
    report = check(clean_folder)
    assert report.findings == ()
    assert report.clean
    assert report.splits == {"train": 6, "valid": 3, "test": 3}
    assert report.summary().endswith("\n\nNothing found.")


def test_a_clean_pets_folder_gives_nothing(pets):
    report = check(pets)
    assert report.findings == ()
    assert report.splits == {"train": 18, "valid": 2, "test": 5}


def test_drawn_figures_give_no_problem(tmp_path):
    samples = open_dataset("synthetic:n=60,size=96", "train")
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for index in range(len(samples)):
        Image.fromarray(samples[index].image).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(samples[index].mask).save(tmp_path / "masks" / f"{index}.png")
    assert check(tmp_path).clean


# Files


def empty_file(folder):
    folder.mask.write_bytes(b"")


def truncated(folder):
    cut(folder.image)


def truncated_webp(folder):
    Image.open(folder.image).save(folder.image.with_suffix(".webp"))
    folder.image.unlink()
    cut(folder.image.with_suffix(".webp"))


def unreadable(folder):
    folder.image.write_text("not an image")


def image_without_mask(folder):
    folder.mask.unlink()


def mask_without_image(folder):
    folder.image.unlink()


def same_name(folder):
    draw_image(99).save(folder.image.with_suffix(".bmp"))


def wrong_suffix(folder):
    draw_image(99).save(folder.image, format="BMP")


def image_mode(folder):
    draw_image(99).quantize(64).save(folder.image)


def dark(folder):
    noise = np.random.default_rng(0).integers(0, 4096, (SIZE[1], SIZE[0]))
    Image.fromarray(noise.astype(np.uint16)).save(folder.image)


def image_mode_alpha(folder):
    draw_image(99).convert("RGBA").save(folder.image)


def unlisted(folder):
    draw_image(99).save(folder.root / "images" / "spare.png")


def stray(folder):
    (folder.root / "images" / "train" / "0.mat").write_bytes(b"MATLAB")


def stray_apple_double(folder):
    (folder.root / "masks" / "train" / "._0.png").write_bytes(b"\0\5\x16\7")


# Sizes


def off_by_one(folder):
    draw_mask((WIDTH + 1, SIZE[1])).save(folder.mask)


def scaled(folder):
    draw_mask((WIDTH // 2, SIZE[1] // 2)).save(folder.mask)


def size_differs(folder):
    draw_mask((WIDTH, SIZE[1] // 2)).save(folder.mask)


def size_differs_swapped(folder):
    draw_mask(SIZE[::-1]).save(folder.mask)


def transposed(folder):
    stored = draw_image(99)
    save_exif(stored, folder.image.with_suffix(".jpg"), 6)
    folder.image.unlink()


def exif_ambiguous(folder):
    save_exif(draw_image(99), folder.image, 3)


def odd_size(folder):
    draw_image(99).resize((WIDTH * 4, 20)).save(folder.image)
    draw_mask((WIDTH * 4, 20)).save(folder.mask)


# Coding of masks


def values_0_1(folder):
    change_masks(folder, levels({255: 1}))


def values_1_2_3(folder):
    folder.draw_on_mask(10, 30, 20, 34, value=3)
    change_masks(folder, levels({255: 1, 0: 2}))


def two_values(folder):
    change_masks(folder, levels({255: 200, 0: 38}))


def palette_mask(folder):
    mask = Image.open(folder.mask).point(lambda value: value // 255).convert("P")
    mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(folder.mask)


def rgba_mask(folder):
    Image.open(folder.mask).convert("RGBA").save(folder.mask)


def alpha_mask(folder):
    picture = draw_image(0)
    picture.putalpha(draw_mask())
    picture.save(folder.mask)


def coloured_mask(folder):
    ImageOps.colorize(draw_mask(), "black", "red").save(folder.mask)


def anti_aliased(folder):
    draw_mask().filter(ImageFilter.GaussianBlur(1)).save(folder.mask)


def anti_aliased_by_resizing(folder):
    draw_mask((WIDTH * 3, SIZE[1] * 3)).resize(SIZE, Image.Resampling.BILINEAR).save(folder.mask)


def jpeg_mask(folder):
    draw_mask().save(folder.mask.with_suffix(".jpg"), quality=75)
    folder.mask.unlink()


def jpeg_mask_in_png(folder):
    data = io.BytesIO()
    draw_mask().save(data, "JPEG", quality=75)
    Image.open(data).save(folder.mask)


def several_classes(folder):
    folder.draw_on_mask(60, 20, 90, 50, value=128)


# Content of masks


def empty_mask(folder):
    Image.new("L", SIZE).save(folder.mask)


def full_mask(folder):
    Image.new("L", SIZE, 255).save(folder.mask)


def inverted(folder):
    ImageOps.invert(Image.open(folder.mask)).save(folder.mask)


def specks(folder):
    folder.draw_on_mask(3, 3, 3, 3)


def pinholes(folder):
    folder.draw_on_mask(48, 30, 48, 30, value=0)


def class_imbalance(folder):
    small = Image.new("L", SIZE)
    ImageDraw.Draw(small).rectangle((40, 30, 50, 40), 255)  # 121 of 6,144 pixels
    change_masks(folder, lambda mask: small)


# Images among each other


def exact_duplicate(folder):
    shutil.copy(folder.image, folder.image.with_name("1.png"))


def exact_leak(folder):
    Image.open(folder.image).save(folder.test_image, compress_level=1)  # other bytes, the same pixels


def near_duplicate(folder):
    other = folder.image.with_name("1.png")
    Image.open(folder.image).resize((48, 32)).resize(SIZE).save(other)


def near_leak(folder):
    data = io.BytesIO()
    Image.open(folder.image).point(lambda value: int(value * 0.8)).save(data, "JPEG", quality=40)
    Image.open(data).save(folder.test_image)


def near_leak_mirrored(folder):
    ImageOps.mirror(Image.open(folder.image)).save(folder.test_image)


PLANTED = [
    (empty_file, "empty_file", 1), (truncated, "truncated", 1), (truncated_webp, "truncated", 1),
    (unreadable, "unreadable", 1), (image_without_mask, "image_without_mask", 1),
    (mask_without_image, "mask_without_image", 1), (same_name, "same_name", 1), (wrong_suffix, "wrong_suffix", 1),
    (image_mode, "image_mode", 1), (image_mode_alpha, "image_mode", 1), (dark, "dark", 1), (unlisted, "unlisted", 1),
    (stray, "stray", 1), (stray_apple_double, "stray", 1),
    (off_by_one, "off_by_one", 1), (scaled, "scaled", 1), (size_differs, "size_differs", 1),
    (size_differs_swapped, "size_differs", 1), (transposed, "transposed", 1),
    (exif_ambiguous, "exif_ambiguous", 1), (odd_size, "odd_size", 1),
    (values_0_1, "values_0_1", 12), (values_1_2_3, "values_1_2_3", 12), (two_values, "two_values", 12),
    (palette_mask, "palette_mask", 1), (rgba_mask, "rgba_mask", 1), (alpha_mask, "alpha_mask", 1),
    (coloured_mask, "coloured_mask", 1), (anti_aliased, "anti_aliased", 1),
    (anti_aliased_by_resizing, "anti_aliased", 1), (jpeg_mask, "jpeg_mask", 1), (jpeg_mask_in_png, "jpeg_mask", 1),
    (several_classes, "several_classes", 1),
    (empty_mask, "empty_mask", 1), (full_mask, "full_mask", 1), (inverted, "inverted", 1), (specks, "specks", 1),
    (pinholes, "pinholes", 1), (class_imbalance, "class_imbalance", 1),
    (exact_duplicate, "exact_duplicate", 1), (exact_leak, "exact_leak", 1), (near_duplicate, "near_duplicate", 1),
    (near_leak, "near_leak", 1), (near_leak_mirrored, "near_leak", 1),
]  # fmt: skip
OF_PETS = {"missing", "not_trimap"}
OF_MODELS = {"disagreement"}
OF_SPLITS = {"empty_split"}


@pytest.mark.parametrize(("plant", "kind", "count"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_fault_gives_exactly_that_finding(folder, plant, kind, count):
    plant(folder)
    report = check(folder.root)
    assert {finding.kind: len(finding.cases) for finding in report.findings} == {kind: count}
    assert report.clean == (KINDS[kind].severity == "note")
    assert KINDS[kind].title in report.summary()
    assert KINDS[kind].remedy in " ".join(report.summary().split())


def test_every_kind_is_planted():
    assert {kind for _, kind, _ in PLANTED} | OF_PETS | OF_MODELS | OF_SPLITS == set(KINDS)


def test_the_files_are_named(folder):
    exact_leak(folder)
    (finding,) = check(folder.root).to_json()["findings"]
    assert finding["cases"] == [
        {"files": ["images/train/0.png", "images/test/0.png"], "detail": "1 in train, 1 in test"}
    ]


def test_a_copy_in_an_undivided_folder_is_no_leak(tmp_path):
    """Training keeps near duplicates in one split."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for name, seed in (("cat", 0), ("elk", 0), ("dog", 1), ("owl", 2)):  # cat and elk are in two splits by name
        draw_image(seed).save(tmp_path / "images" / f"{name}.png")
        draw_mask().save(tmp_path / "masks" / f"{name}.png")
    report = check(tmp_path)
    assert [finding.kind for finding in report.findings] == ["exact_duplicate"]
    (case,) = report.findings[0].cases
    assert (sorted(path.stem for path in case.files), case.detail) == (["cat", "elk"], "2 in no split")
    (split,) = {split for split in SPLITS if "cat" in open_dataset(tmp_path, split).names}
    assert "elk" in open_dataset(tmp_path, split).names


def test_all_masks_are_missing(tmp_path):
    (tmp_path / "images").mkdir()
    draw_image(0).save(tmp_path / "images" / "cat.png")
    assert kinds(tmp_path) == {"image_without_mask": 1}


def test_a_split_without_images(folder):
    for kind in ("images", "masks"):
        shutil.rmtree(folder.root / kind / "valid")
    assert check(folder.root).findings == ()  # a part of train is taken for it
    for kind in ("images", "masks"):
        shutil.rmtree(folder.root / kind / "test")
    (finding,) = check(folder.root).findings
    assert (finding.kind, finding.severity, [case.detail for case in finding.cases]) == (
        "empty_split", "problem", ["valid", "test"],
    )  # fmt: skip


def test_hidden_folders_do_not_count(folder):
    for kind in ("images", "masks"):
        (folder.root / kind / "train" / ".thumbnails").mkdir()
    draw_image(99).save(folder.root / "images" / "train" / ".thumbnails" / "0.png")
    assert "image_without_mask" not in kinds(folder.root)
    assert len(open_dataset(folder.root, "train")) == 6


# The Oxford-IIIT Pet layout


def test_pets_listed_but_missing(pets):
    (pets / "images" / "cat_3.jpg").unlink()
    (pets / "annotations" / "trimaps" / "cat_3.png").unlink()
    assert kinds(pets) == {"missing": 1}


def test_pets_with_masks_of_0_and_255(pets):
    draw_mask().save(pets / "annotations" / "trimaps" / "cat_3.png")
    assert kinds(pets) == {"not_trimap": 1}


def test_pets_with_an_empty_trimap(pets):
    Image.new("L", SIZE, 2).save(pets / "annotations" / "trimaps" / "cat_3.png")
    assert kinds(pets) == {"empty_mask": 1}


def test_pets_without_pet_but_with_border(pets):
    trimap = Image.new("L", SIZE, 2)
    ImageDraw.Draw(trimap).rectangle((30, 20, 60, 40), 3)
    trimap.save(pets / "annotations" / "trimaps" / "cat_3.png")
    assert kinds(pets) == {}
    assert kinds(pets, foreground="background") == {"empty_mask": 1}


def test_pets_that_no_list_names(pets):
    """As in the original archive: an image of its own, one that is a GIF, and annotations among the images."""
    draw_image(98).save(pets / "images" / "cat_98.jpg")
    draw_image(99).save(pets / "images" / "cat_99.jpg", format="GIF")
    (pets / "images" / "cat_99.mat").write_bytes(b"MATLAB")
    assert kinds(pets) == {"unlisted": 2, "wrong_suffix": 1, "stray": 1}


def test_a_name_in_both_lists(pets):
    with (pets / "annotations" / "test.txt").open("a") as file:
        file.write("\ncat_1 1 1 1\n")
    assert kinds(pets) == {"exact_leak": 1}


# Settings


@pytest.mark.parametrize("plant", [anti_aliased, jpeg_mask, several_classes])
def test_a_threshold_settles_what_values_leave_open(folder, plant):
    plant(folder)
    assert not check(folder.root).clean
    assert check(DataConfig(str(folder.root), mask_threshold=128)).clean


@pytest.mark.parametrize("settings", [{"figure_values": ("2,3",)}, {"figure_values": ("3",), "ignore_value": 1}])
def test_what_training_is_told_of_values_settles_them(tmp_path, settings):
    values = np.zeros((64, 96), np.uint8)
    values[8:40, 8:24], values[8:40, 24:48], values[8:40, 48:60] = 1, 2, 3
    for index in range(4):
        for kind, picture in (("images", draw_image(index)), ("masks", Image.fromarray(values))):
            (tmp_path / kind).mkdir(exist_ok=True)
            picture.save(tmp_path / kind / f"{index}.png")
    assert kinds(tmp_path) == {"several_classes": 4}
    report = check(DataConfig(str(tmp_path), **settings))
    assert report.findings == ()
    figures = {figure.share for _, figure in report.examined.figures()}
    assert figures == {32 * (36 if len(settings) == 1 else 12) / values.size}
    with pytest.raises(FiguregroundError, match="no mask holds 7; the first 4 hold 0, 1, 2, 3"):
        check(DataConfig(str(tmp_path), figure_values=("7",)))


def test_what_is_accepted_is_a_note(folder):
    empty_mask(folder)
    report = check(folder.root, accept=["empty_mask"])
    assert report.clean
    assert [(finding.kind, finding.severity) for finding in report.findings] == [("empty_mask", "note")]


def test_problems_come_first(folder):
    stray(folder)
    inverted(folder)
    assert list(kinds(folder.root)) == ["inverted", "stray"]


def test_to_json_is_json(folder):
    empty_file(folder)
    found = json.loads(json.dumps(check(folder.root).to_json()))
    assert found["clean"] is False
    assert found["splits"] == {"train": 6, "valid": 3, "test": 3}
    assert found["findings"][0]["kind"] == "empty_file"
    assert found["findings"][0]["cases"][0]["files"] == ["masks/train/0.png"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accept": ["emty_mask"]}, "there is no finding 'emty_mask'; expected one of: empty_file, "),
    ],
)
def test_settings_that_are_not_known(folder, settings, message):
    with pytest.raises(FiguregroundError, match=message):
        check(folder.root, **settings)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FiguregroundError, match="no such folder"):
        check(tmp_path / "nothing")


# The real archives


def test_the_original_files(pets_native):
    assert {"stray": 3, "unlisted": 4, "wrong_suffix": 2}.items() <= kinds(pets_native).items()


def test_the_documentation_lists_every_kind():
    lines = (Path(__file__).parents[3] / "docs" / "data-check.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    expected = [[f"`{kind}`", about.title, about.severity, about.repair] for kind, about in KINDS.items()]
    assert rows == expected


def test_a_link_to_nothing_is_unreadable(pets):
    (pets / "images" / "cat_3.jpg").unlink()
    (pets / "images" / "cat_3.jpg").symlink_to(pets / "nowhere.jpg")
    assert kinds(pets) == {"unreadable": 1}
