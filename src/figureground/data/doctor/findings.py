"""What can be wrong with a dataset: every kind with what it does and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["problem", "note"]
Repair = Literal["keep", "mend", "leave out"]


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    title: str
    severity: Severity
    """Problems make training refuse, learn something wrong or score too well; notes are worth a look."""
    repair: Repair
    """What ``repair`` does with the files."""
    explanation: str
    remedy: str


KINDS: dict[str, Kind] = {
    # Files
    "empty_file": Kind(
        "empty files", "problem", "leave out", "The file has no bytes: a copy or download was interrupted.",
        "Get it again, or remove it together with its partner.",
    ),
    "truncated": Kind(
        "truncated files", "problem", "leave out", "The file ends before its picture does.",
        "Get it again, or remove it together with its partner.",
    ),
    "unreadable": Kind(
        "unreadable files", "problem", "leave out", "The file is no image, is damaged or may not be read.",
        "Get or export it again, or remove it together with its partner.",
    ),
    "image_without_mask": Kind(
        "images without a mask", "problem", "leave out", "Training cannot use the image, and stops.",
        "Add a mask of the same name, or remove the image.",
    ),
    "mask_without_image": Kind(
        "masks without an image", "problem", "leave out", "The mask is not used; is its image lost or named otherwise?",
        "Add the image or give it the mask's name; otherwise remove the mask.",
    ),
    "missing": Kind(
        "listed, but missing", "problem", "leave out", "A list names the image, but image and mask are not there.",
        "Get the archive again, or take the name out of the list.",
    ),
    "empty_split": Kind(
        "splits without an image", "problem", "keep", "Training needs train, valid and test, and stops without.",
        "Add images to it, or divide them anew.",
    ),
    "same_name": Kind(
        "files of the same name", "problem", "leave out", "They differ in their suffix only, so pairing is ambiguous.",
        "Rename or remove all but one.",
    ),
    "wrong_suffix": Kind(
        "suffix of another format", "note", "mend", "The content is not what the name says: others may not read it.",
        "Rename the file, or export it again.",
    ),
    "image_mode": Kind(
        "images that are not RGB", "note", "mend", "Palette, grey, alpha, CMYK or 16 bits: converted when read.",
        "Nothing has to be done; convert them for tools that expect RGB.",
    ),
    "dark": Kind(
        "nearly black images of 16 bits", "note", "keep",
        "The file uses few of its bits, as microscopes do with 10 or 12: hardly anything remains in the 8 we train on.",
        "Stretch them to 16 bits, or save 8.",
    ),
    "unlisted": Kind(
        "images in no split", "note", "leave out", "No list or split folder holds them, so they are never used.",
        "Move or list them if they should be used.",
    ),
    "stray": Kind(
        "stray files", "note", "leave out", "Neither images nor masks; they are skipped.",
        "Nothing has to be done; remove them to tidy up.",
    ),
    # Sizes
    "off_by_one": Kind(
        "masks one pixel larger or smaller", "problem", "mend", "Rounding at export or resizing; training stops at it.",
        "Export the mask at its image's size.",
    ),
    "transposed": Kind(
        "masks not turned as EXIF turns the image", "problem", "mend",
        "The image's EXIF tag turns it upright, the mask was drawn on the unturned pixels.",
        "Turn the mask, or store the image upright without the tag.",
    ),
    "scaled": Kind(
        "masks of another scale", "problem", "mend", "The mask has its image's proportions, but not its size.",
        "Export the mask at its image's size.",
    ),
    "size_differs": Kind(
        "masks of another size", "problem", "leave out", "The mask does not fit its image; is it another image's?",
        "Look at the pair, and export the mask at its image's size.",
    ),
    "exif_ambiguous": Kind(
        "EXIF turns that sizes cannot confirm", "note", "keep",
        "EXIF turns the image, but its size is the same either way, so the mask may be turned or not.",
        "Look whether figure and mask lie on each other.",
    ),
    "odd_size": Kind(
        "odd sizes", "note", "keep", "Tiny, very long or far from the usual area: resizing distorts or blurs them.",
        "Look whether they belong here; crop what is too long.",
    ),
    # Coding of masks
    "values_0_1": Kind(
        "masks of 0 and 1", "note", "mend", "They look black in a viewer; we read 1 as figure.",
        "Nothing has to be done; 0 and 255 can be looked at.",
    ),
    "values_1_2_3": Kind(
        "masks of 1, 2, 3", "problem", "mend",
        "Trimaps: 1 figure, 2 background, 3 border. In this layout 2 would be read as figure, or refused.",
        "Save them as 0 and 255, or use the Oxford-IIIT Pet layout.",
    ),
    "two_values": Kind(
        "masks of two other values", "note", "mend", "Two values, but not 0 and 255; the higher is read as figure.",
        "Look whether the brighter one is the figure; save as 0 and 255.",
    ),
    "palette_mask": Kind(
        "palette masks", "note", "mend", "The file holds indices of colours; the brighter colour is read as figure.",
        "Look whether the brighter one is the figure; save as grey, 0 and 255.",
    ),
    "rgba_mask": Kind(
        "masks with an opaque alpha channel", "note", "mend", "The alpha channel says nothing, and is dropped.",
        "Nothing has to be done; save as grey, 0 and 255.",
    ),
    "alpha_mask": Kind(
        "figure in the alpha channel", "problem", "mend", "Alpha is dropped when masks are read, and so is the figure.",
        "Save the alpha channel as a grey mask, 0 and 255.",
    ),
    "coloured_mask": Kind(
        "coloured masks", "note", "mend", "Two colours; the one of higher luminance is read as figure.",
        "Look whether that one is the figure; save as grey, 0 and 255.",
    ),
    "anti_aliased": Kind(
        "anti-aliased masks", "problem", "mend", "Edges are smoothed, so pixels are neither figure nor background.",
        "Export without smoothing, resize with nearest neighbour, or pass --mask-threshold 128.",
    ),
    "jpeg_mask": Kind(
        "masks damaged by JPEG", "problem", "mend", "Lossy compression scattered values about the two that were meant.",
        "Save masks as PNG, or pass --mask-threshold 128.",
    ),
    "several_classes": Kind(
        "masks of several classes", "problem", "leave out", "More than two values, in areas and not at edges.",
        "Keep one class as 255 and all else as 0, or say which are figure with --figure-value.",
    ),
    "not_trimap": Kind(
        "trimaps with other values", "problem", "leave out", "This layout has 1 (pet), 2 (background), 3 (border).",
        "Save it with these values, or use images/ and masks/ for masks of 0 and 255.",
    ),
    # Content of masks
    "empty_mask": Kind(
        "empty masks", "problem", "leave out", "No pixel is figure: a forgotten mask, unless the image shows none.",
        "Draw the mask or remove the pair; if images without a figure are meant, pass --accept empty_mask.",
    ),
    "full_mask": Kind(
        "full masks", "problem", "leave out", "Every pixel is figure: a failed export, unless it fills the image.",
        "Draw the mask or remove the pair; if it is meant, pass --accept full_mask.",
    ),
    "inverted": Kind(
        "inverted masks", "problem", "mend", "The figure covers the border and the middle is background.",
        "Look at it, and swap the mask's values if figure and background are exchanged.",
    ),
    "specks": Kind(
        "specks", "note", "mend", "Pieces of at most 0.01% of the image apart from the figure; boundary scores suffer.",
        "Erase them if they are slips of the brush.",
    ),
    "pinholes": Kind(
        "pinholes", "note", "mend", "Holes in the figure of at most 0.01% of the image; boundary scores suffer.",
        "Fill them if nothing can be seen through them.",
    ),
    "class_imbalance": Kind(
        "class imbalance", "note", "keep", "Nearly all pixels are of one class; a loss by pixel may ignore the other.",
        "Train with --loss bce_dice, or crop the images around the figure.",
    ),
    # Images among each other
    "exact_duplicate": Kind(
        "duplicates inside a split", "problem", "leave out", "The same pixels several times: they count several times.",
        "Keep one of them.",
    ),
    "exact_leak": Kind(
        "duplicates across splits", "problem", "leave out", "A leak: models are scored on what they were trained on.",
        "Keep the one in test (or valid) and remove it from train.",
    ),
    "near_duplicate": Kind(
        "near duplicates inside a split", "note", "keep", "Nearly the same picture: another size, crop, edit or shot.",
        "Keep one of them if they are one photograph.",
    ),
    "near_leak": Kind(
        "near duplicates across splits", "problem", "leave out",
        "A leak: models are scored on nearly what they were trained on.",
        "Put all of one motif into one split, or remove it from train.",
    ),
    "disagreement": Kind(
        "masks that the model contradicts", "note", "keep",
        "The model is sure of another figure than the mask's, far more than on other images; the worst come first.",
        "Look at mask and image; correct the mask if it is wrong.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One place where a kind was found."""

    files: tuple[Path, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """All cases of a kind."""

    kind: str
    severity: Severity
    cases: tuple[Case, ...]

    @property
    def about(self) -> Kind:
        """Title, explanation and remedy."""
        return KINDS[self.kind]
