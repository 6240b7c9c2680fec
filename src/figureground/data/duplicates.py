"""Pictures that are there more than once, exactly or nearly.

Candidates are found by a perceptual hash: the signs of an image's 63 lowest DCT coefficients about their median
(Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1). They are confirmed
where the thumbnails correlate, which a hash that agrees by chance does not survive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOWEST = 8  # frequencies of each axis
MOST_BITS = 10  # of 63 that may differ
LEAST_CORRELATION = 0.9
PAIRS = 8192  # whose thumbnails are compared at once: 64 MB; of a film nearly all pairs are
CHUNK = 1024  # images that are compared with all others at once: 30 MB for 7,349
THUMBNAIL = 32  # pixels on each side


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What ``near_pairs`` looks at of an image (H, W, 3): its luminance, (32, 32)."""
    grey = Image.fromarray(pixels).convert("L")
    return np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))


def near_pairs(thumbnails: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Indices (i < j) of thumbnails (N, h, w) that show nearly the same, or one the mirror image of the other."""
    pictures = thumbnails.astype(np.float32)
    hashes, vectors = _hashes(pictures), _centred(pictures)
    mirrored = pictures[:, :, ::-1]
    both = ((hashes, vectors), (_hashes(mirrored), _centred(mirrored)))
    return sorted({pair for these in both for pair in _matches(*these, hashes, vectors)})


def _matches(
    hashes: NDArray[np.float32],
    vectors: NDArray[np.float32],
    other_hashes: NDArray[np.float32],
    other_vectors: NDArray[np.float32],
) -> Iterable[tuple[int, int]]:
    for start in range(0, len(hashes), CHUNK):
        agreement = hashes[start : start + CHUNK] @ other_hashes.T  # bits that agree less those that differ
        rows, columns = np.nonzero(agreement >= hashes.shape[1] - 2 * MOST_BITS)
        rows += start
        rows, columns = rows[rows < columns], columns[rows < columns]
        for first in range(0, len(rows), PAIRS):
            a, b = rows[first : first + PAIRS], columns[first : first + PAIRS]
            alike = np.einsum("ij,ij->i", vectors[a], other_vectors[b]) >= LEAST_CORRELATION
            yield from zip(a[alike].tolist(), b[alike].tolist(), strict=True)


def _hashes(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Perceptual hashes (N, 63) of 1 and -1."""
    from scipy.fft import dctn

    spectrum = dctn(pictures, axes=(1, 2), norm="ortho")
    lowest = spectrum[:, :LOWEST, :LOWEST].reshape(len(pictures), -1)[:, 1:]
    return np.where(lowest > np.median(lowest, axis=1, keepdims=True), 1, -1).astype(np.float32)


def _centred(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (N, h·w) whose products are correlations; a picture of one grey correlates with nothing."""
    vectors = pictures.reshape(len(pictures), -1)
    vectors = vectors - vectors.mean(1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1))


def join(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of two or more of ``count`` indices that pairs connect, each in order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return []
    rows, columns = np.array(pairs).T
    _, group = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), (count, count)), directed=False)
    members: dict[int, list[int]] = {}
    for index in np.unique(np.array(pairs)).tolist():
        members.setdefault(int(group[index]), []).append(index)
    return list(members.values())
