import errno
import logging
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from figureground.data import cache, open_dataset
from figureground.data.cache import CachedDataset, cached, clear_cache
from figureground.data.dataset import Entry, FileSource, Sample, SplitDataset, targets_of
from figureground.errors import FiguregroundError
from figureground.images import read_levels
from figureground.preprocessing import Preprocessing

SMALL = Preprocessing((32, 40))
PIXELS = 32 * 40


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path):
    """Three photographs with masks, as entries."""
    rng = np.random.default_rng(0)
    found = []
    for name in "abc":
        entry = Entry(name, tmp_path / f"{name}.png", tmp_path / f"{name}-mask.png")
        Image.fromarray(rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(entry.image)
        Image.fromarray(rng.integers(0, 2, (50, 60), dtype=np.uint8)).save(entry.truth)
        found.append(entry)
    return found


def read_mask(path):
    return targets_of(read_levels(path) > 0)


def opened(files, name="mine"):
    return SplitDataset(FileSource("folder", name, files, read_mask), "train", files)


def entries(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def refuse(*_):
    raise AssertionError("the source was read")


def test_samples_are_those_of_the_source_at_the_networks_size(files, folder):
    source = opened(files)
    dataset = cached(source, SMALL, folder)
    assert isinstance(dataset, CachedDataset)
    assert (dataset.name, dataset.split, dataset.foreground) == ("mine", "train", "foreground")
    assert list(dataset.names) == ["a", "b", "c"]
    assert len(dataset) == 3
    for index in range(3):
        expected, sample = source[index], dataset[index]
        assert sample.name == expected.name
        assert sample.image.shape == (32, 40, 3)
        assert np.array_equal(sample.image, SMALL.resize_image(expected.image))
        assert np.array_equal(sample.targets["figure"], SMALL.resize_target(expected.targets["figure"]))
        assert list(sample.targets) == ["figure"]


def test_the_second_time_the_source_is_not_read(files, folder, monkeypatch):
    first = cached(opened(files), SMALL, folder)
    monkeypatch.setattr(SplitDataset, "__getitem__", refuse)
    again = cached(opened(files), SMALL, folder)
    assert isinstance(again, CachedDataset)
    assert again.fingerprint() == first.fingerprint()
    for index in range(3):
        assert np.array_equal(first[index].image, again[index].image)
        assert np.array_equal(first[index].mask, again[index].mask)


def _nothing(files):
    return opened(files), SMALL


def _touched_image(files):
    os.utime(files[1].image, (1, 1))
    return opened(files), SMALL


def _touched_mask(files):
    os.utime(files[2].truth, (1, 1))
    return opened(files), SMALL


def _rewritten(files):
    Image.new("RGB", (60, 50), (1, 2, 3)).save(files[0].image)
    return opened(files), SMALL


def _fewer(files):
    return opened(files[:2]), SMALL


def _other_size(files):
    return opened(files), Preprocessing((40, 32))


def _other_mean(files):
    return opened(files), Preprocessing((32, 40), mean=(0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    ("change", "count"),
    [(_nothing, 1), (_other_mean, 1)]
    + [(change, 2) for change in (_touched_image, _touched_mask, _rewritten, _fewer, _other_size)],
)
def test_an_entry_is_made_anew_when_something_changed(files, folder, change, count):
    before = cached(opened(files), SMALL, folder)
    source, preprocessing = change(files)
    after = cached(source, preprocessing, folder)
    assert len(entries(folder)) == count
    assert (after.fingerprint() != before.fingerprint()) == (count == 2)
    for index in range(len(after)):
        assert np.array_equal(after[index].image, preprocessing.resize_image(source[index].image))


FILL = """
import sys, time
from pathlib import Path
from figureground.data import cache, open_dataset
from figureground.data.cache import cached
from figureground.data.sources.synthetic import Synthetic
from figureground.preprocessing import Preprocessing

reads = []
draw = Synthetic.read
Synthetic.read = lambda self, entry: (reads.append(entry), time.sleep(0.01), draw(self, entry))[-1]
folder, ready, go = map(Path, sys.argv[1:])
ready.touch()
while not go.exists():
    time.sleep(0.005)
dataset = cached(open_dataset("synthetic:n=20,size=64", "train"), Preprocessing((32, 40)), folder)
print(type(dataset).__name__, len(reads), int(sum(int(dataset[i].image.sum()) for i in range(len(dataset)))))
"""


def test_two_processes_at_once_make_one_entry(tmp_path, folder):
    ready, go = [tmp_path / "ready-0", tmp_path / "ready-1"], tmp_path / "go"
    processes = [
        subprocess.Popen([sys.executable, "-c", FILL, folder, own, go], stdout=subprocess.PIPE, text=True)
        for own in ready
    ]
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in ready) and time.monotonic() < deadline:
        time.sleep(0.01)
    go.touch()
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]

    source = open_dataset("synthetic:n=20,size=64", "train")
    total = sum(int(SMALL.resize_image(source[index].image).sum()) for index in range(16))
    assert [words[0] for words in said] == ["CachedDataset"] * 2
    assert sorted(int(words[1]) for words in said) == [0, 16]  # one filled it, the other waited
    assert [int(words[2]) for words in said] == [total] * 2
    (entry,) = entries(folder)
    assert sorted(os.listdir(folder / entry)) == ["entry.json", "pixels"]


def test_the_least_recently_used_entry_goes(files, folder):
    limit = int(2.5 * 3 * PIXELS * 4)  # of bytes: two entries and a half
    oldest = cached(opened(files, "first"), SMALL, folder, limit=limit).fingerprint()
    second = cached(opened(files, "second"), SMALL, folder, limit=limit).fingerprint()
    os.utime(folder / oldest, (1000, 1000))
    os.utime(folder / second, (2000, 2000))
    cached(opened(files, "first"), SMALL, folder, limit=limit)  # used again
    third = cached(opened(files, "third"), SMALL, folder, limit=limit).fingerprint()
    assert entries(folder) == sorted([oldest, third])


def test_entries_stay_while_there_is_room(files, folder):
    names = [cached(opened(files, name), SMALL, folder).fingerprint() for name in ("first", "second", "third")]
    assert entries(folder) == sorted(names)


def test_an_entry_beyond_the_limit_is_not_made(files, folder, caplog):
    source = opened(files)
    with caplog.at_level(logging.WARNING):
        assert cached(source, SMALL, folder, limit=3 * PIXELS * 4 - 1) is source
    assert "mine (train) needs" in caplog.text
    assert str(folder) in caplog.text
    assert entries(folder) == []
    assert cached(source, SMALL, folder, limit=3 * PIXELS * 4) is not source


def test_a_full_disk_is_a_warning(files, folder, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    source = opened(files)
    with caplog.at_level(logging.WARNING):
        assert cached(source, SMALL, folder) is source
    assert f"no cache in {folder} (No space left on device)" in caplog.text
    monkeypatch.undo()
    assert isinstance(cached(source, SMALL, folder), CachedDataset)


def test_a_folder_that_cannot_be_made_is_a_warning(files, tmp_path, caplog):
    (tmp_path / "file").touch()
    source = opened(files)
    with caplog.at_level(logging.WARNING):
        assert cached(source, SMALL, tmp_path / "file" / "cache") is source
    assert "no cache in" in caplog.text


def test_a_broken_sample_leaves_no_entry(files, folder):
    content = files[1].image.read_bytes()
    files[1].image.write_bytes(b"")
    with pytest.raises(FiguregroundError, match=r"b\.png is empty"):
        cached(opened(files), SMALL, folder)
    assert entries(folder) == []
    files[1].image.write_bytes(content)
    assert len(cached(opened(files), SMALL, folder)) == 3


def test_broken_samples_are_counted(files, folder):
    for entry in files[:2]:
        entry.image.write_bytes(b"")
    with pytest.raises(FiguregroundError, match=r"2 of 3 samples cannot be read: .*a\.png.*b\.png"):
        cached(opened(files), SMALL, folder)


def test_what_a_killed_process_left_is_overwritten(files, folder):
    name = cached(opened(files), SMALL, folder).fingerprint()
    (folder / name).rename(folder / f"{name}.partial")
    dataset = cached(opened(files), SMALL, folder)
    assert entries(folder) == [name]
    assert np.array_equal(dataset[2].image, SMALL.resize_image(opened(files)[2].image))


def test_clear_cache_tells_what_there_was(files, folder):
    assert clear_cache(folder) == (0, 0)
    for name in ("first", "second"):
        cached(opened(files, name), SMALL, folder)
    there = sum(path.stat().st_size for path in folder.glob("*/*"))
    assert there > 2 * 3 * PIXELS * 4
    assert clear_cache(folder) == (2, there)
    assert entries(folder) == []
    assert clear_cache(folder) == (0, 0)


def test_clear_cache_counts_what_is_gone(files, folder, monkeypatch):
    kept = folder / cached(opened(files, "first"), SMALL, folder).fingerprint()
    cached(opened(files, "second"), SMALL, folder)
    gone = next(path for path in folder.iterdir() if path.is_dir() and path != kept)
    size = sum(path.stat().st_size for path in gone.iterdir())
    unlink = Path.unlink

    def refused(path, **settings):
        if path.parent == kept:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, **settings)

    monkeypatch.setattr(Path, "unlink", refused)
    assert clear_cache(folder) == (1, size)
    assert entries(folder) == [kept.name]


def test_a_pickle_holds_no_pixels(files, folder):
    dataset = cached(opened(files), SMALL, folder)
    before = dataset[1]
    content = pickle.dumps(dataset)
    assert len(content) < 2000 < 3 * PIXELS * 4
    copy = pickle.loads(content)
    assert copy[1].name == "b"
    assert np.array_equal(copy[1].image, before.image)
    assert np.array_equal(copy[1].mask, before.mask)


def test_what_is_open_outlives_its_entry(files, folder):
    dataset = cached(opened(files), SMALL, folder)
    expected = SMALL.resize_image(opened(files)[0].image)
    clear_cache(folder)
    assert np.array_equal(dataset[0].image, expected)


def test_old_entries_make_room_on_a_disk_that_is_nearly_full(files, folder, monkeypatch):
    cached(opened(files, "first"), SMALL, folder)
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    second = cached(opened(files, "second"), SMALL, folder).fingerprint()
    assert entries(folder) == [second]


def test_a_folder_of_the_users_own_is_no_entry(files, folder):
    own = folder / "arrays"
    own.mkdir(parents=True)
    (own / "pixels").write_bytes(b"theirs")
    cached(opened(files), SMALL, folder, limit=3 * PIXELS * 4)
    assert clear_cache(folder)[0] == 1
    assert (own / "pixels").read_bytes() == b"theirs"


def test_files_of_others_are_never_removed(files, folder):
    """Neither from a folder that is called otherwise, though it has an entry's file, nor from within an entry."""
    project = folder / "project"
    project.mkdir(parents=True)
    for name in ("entry.json", "work.txt"):
        (project / name).write_text("mine")
    entry = folder / cached(opened(files), SMALL, folder).fingerprint()
    (entry / "notes.txt").write_text("mine")
    with pytest.raises(FiguregroundError, match=r"notes\.txt is not of the cache, of which nothing was removed"):
        clear_cache(folder)
    assert (entry / "pixels").is_file()
    cached(opened(files, "second"), SMALL, folder, limit=3 * PIXELS * 4 + 1000)  # which needs the first's room
    assert (entry / "notes.txt").read_text() == "mine"
    (entry / "notes.txt").unlink()
    clear_cache(folder)
    assert entries(folder) == ["project"]
    assert sorted(path.name for path in project.iterdir()) == ["entry.json", "work.txt"]


def test_clearing_takes_what_a_killed_process_left(files, folder):
    name = cached(opened(files), SMALL, folder).fingerprint()
    (folder / name).rename(folder / f"{name}.partial")
    assert clear_cache(folder)[0] == 1
    assert entries(folder) == []


def test_waiting_for_another_process_is_said(files, folder, caplog):
    folder.mkdir()
    held = threading.Event()

    def hold():
        with FileLock(folder / "lock"):
            held.set()
            time.sleep(1.5)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    with caplog.at_level(logging.INFO, logger="figureground"):
        assert isinstance(cached(opened(files), SMALL, folder), CachedDataset)
    other.join()
    assert "waiting for another process that fills the cache" in caplog.text


def flip(path, place):
    with path.open("r+b") as file:
        file.seek(place)
        (value,) = file.read(1)
        file.seek(place)
        file.write(bytes([value ^ 1]))


@pytest.mark.parametrize("place", [0, 3 * PIXELS - 1, 3 * PIXELS, 4 * PIXELS - 1])
@pytest.mark.parametrize("index", [0, 2])
def test_a_flipped_bit_is_noticed_and_the_sample_read_anew(files, folder, caplog, index, place):
    source = opened(files)
    entry = folder / cached(source, SMALL, folder).fingerprint()
    flip(entry / "pixels", index * 4 * PIXELS + place)
    dataset = cached(opened(files), SMALL, folder)
    assert isinstance(dataset, CachedDataset)
    with caplog.at_level(logging.WARNING):
        for each in range(3):
            sample, expected = dataset[each], source[each]
            assert np.array_equal(sample.image, SMALL.resize_image(expected.image))
            assert np.array_equal(sample.targets["figure"], SMALL.resize_target(expected.targets["figure"]))
    assert [record.getMessage() for record in caplog.records] == [
        f"the cache entry {entry} is damaged; {'abc'[index]} is read anew"
    ]
    caplog.clear()
    again = cached(opened(files), SMALL, folder)  # it was given up, and is made anew
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(again[index].image, SMALL.resize_image(source[index].image))
    assert caplog.text == ""
    assert entries(folder) == [entry.name]


def test_what_is_damaged_stays_in_reach_of_clearing(files, folder):
    entry = folder / cached(opened(files), SMALL, folder).fingerprint()
    flip(entry / "pixels", 0)
    _ = cached(opened(files), SMALL, folder)[0]
    clear_cache(folder)
    assert entries(folder) == []


def test_a_sample_is_checked_in_a_copy_too(files, folder, caplog):
    """As in a worker process."""
    dataset = cached(opened(files), SMALL, folder)
    flip(folder / dataset.fingerprint() / "pixels", 5)
    copy = pickle.loads(pickle.dumps(dataset))
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(copy[0].image, SMALL.resize_image(opened(files)[0].image))
    assert "is damaged; a is read anew" in caplog.text


def test_a_sample_that_is_damaged_in_cache_and_source_is_an_error(files, folder):
    dataset = cached(opened(files), SMALL, folder)
    flip(folder / dataset.fingerprint() / "pixels", 0)
    files[0].image.write_bytes(b"")
    with pytest.raises(FiguregroundError, match=r"a\.png is empty"):
        _ = dataset[0]


@pytest.mark.parametrize("left", [0, 1, 3 * 4 * PIXELS - 1])
@pytest.mark.parametrize("name", ["pixels", "entry.json"])
def test_a_truncated_file_is_rebuilt(files, folder, monkeypatch, left, name):
    entry = folder / cached(opened(files), SMALL, folder).fingerprint()
    content = (entry / name).read_bytes()
    (entry / name).write_bytes(content[: min(left, len(content) - 1)])
    dataset = cached(opened(files), SMALL, folder)
    assert (entry / name).read_bytes() == content
    monkeypatch.setattr(SplitDataset, "__getitem__", refuse)
    for index, file in enumerate(files):
        with Image.open(file.image) as picture:
            assert np.array_equal(dataset[index].image, SMALL.resize_image(np.asarray(picture)))


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"samples": []}', '{"samples": [[0, 1]]}', '{"samples": 3}'])
def test_a_description_of_another_shape_is_rebuilt(files, folder, content):
    entry = folder / cached(opened(files), SMALL, folder).fingerprint()
    (entry / "entry.json").write_text(content)
    assert len(cached(opened(files), SMALL, folder)) == 3
    assert (entry / "entry.json").read_text() != content


class Weighted:
    """Samples with soft figures, every other one with a weight."""

    name, kind, split, foreground = "weighted", "folder", "train", "ignore"
    names = tuple("abcd")
    metadata = ({},) * 4

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image, figure = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((50, 60, 3), (50, 60)))
        weight = {"weight": rng.choice(np.array([0, 255], np.uint8), (50, 60))} if index % 2 else {}
        return Sample(self.names[index], image, {"figure": figure} | weight)

    def fingerprint(self):
        return "fixed"


def test_targets_come_back_whether_they_have_a_weight_or_not(folder):
    source = Weighted()
    for dataset in (cached(source, SMALL, folder), cached(source, SMALL, folder)):
        assert isinstance(dataset, CachedDataset)
        for index in range(4):
            expected, sample = source[index], dataset[index]
            assert list(sample.targets) == list(expected.targets)
            assert np.array_equal(sample.image, SMALL.resize_image(expected.image))
            for name, target in expected.targets.items():
                assert sample.targets[name].dtype == np.uint8
                assert np.array_equal(sample.targets[name], SMALL.resize_target(target))
    (entry,) = entries(folder)
    assert (folder / entry / "pixels").stat().st_size == (4 * 4 + 2) * PIXELS


def test_a_weight_that_does_not_fit_makes_no_entry(folder, caplog):
    source = Weighted()
    with caplog.at_level(logging.WARNING):
        assert cached(source, SMALL, folder, limit=4 * 4 * PIXELS) is source
    assert "weighted (train) needs more cache" in caplog.text
    assert [path.name for path in folder.iterdir()] == ["lock"]
