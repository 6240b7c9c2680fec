import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from figureground.errors import FiguregroundError
from figureground.prediction.batch.jobs import find_films, find_jobs, find_left_out


@pytest.fixture
def photos(tmp_path):
    for name in ("a.jpg", "a.png", "sub/a.jpg", "sub/deep/b.WEBP", ".hidden.jpg", ".thumbnails/c.jpg", "masks/a.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), "red").save(path)
    (tmp_path / "photos" / "notes.txt").write_text("x")
    (tmp_path / "photos" / "folder.jpg").mkdir()
    return tmp_path / "photos"


def names(jobs):
    return [job.name.as_posix() for job in jobs]


def test_folders_are_kept_and_names_do_not_collide(photos):
    jobs = find_jobs([photos], photos / "masks")
    assert names(jobs) == ["a.jpg", "a.png", "sub/a", "sub/deep/b"]
    assert [job.below.as_posix() for job in jobs] == ["a.jpg", "a.png", "sub/a.jpg", "sub/deep/b.WEBP"]


def test_results_inside_the_folder_of_photos_are_no_photos(photos):
    assert "masks/a" in names(find_jobs([photos]))
    assert "masks/a" not in names(find_jobs([photos], photos / "masks"))
    with pytest.raises(FiguregroundError, match=r"results would lie among the photos of .*photos.*such as .*masks"):
        find_jobs([photos], photos / "sub" / "..")


def test_photos_that_were_named_although_they_lie_below_the_results(photos):
    assert names(find_jobs([photos / "sub"], photos)) == ["a", "deep/b"]
    (photos / "sub" / "sub").mkdir()
    shutil.copy(photos / "a.jpg", photos / "sub" / "sub" / "c.jpg")
    with pytest.raises(FiguregroundError, match=r"results would lie among the photos \(.*sub/c\)"):
        find_jobs([photos / "sub"], photos)


def test_a_link_to_nothing_is_a_job_that_will_fail(photos):
    (photos / "sub" / "lost.jpg").symlink_to(photos / "nothing.jpg")
    assert names(find_jobs([photos / "sub"])) == ["a", "deep/b", "lost"]


def test_links_in_a_circle_are_jobs_that_will_fail(photos):
    (photos / "loop.jpg").symlink_to("loop.jpg")
    assert "loop" in names(find_jobs([photos], photos / "masks"))
    assert names(find_jobs([photos / "loop.jpg", photos / "sub"], photos / "masks")) == ["loop", "a", "deep/b"]


def test_inputs_without_photos(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("x")
    for name, message in [("none", "none: no such file or folder"), ("empty", "no photo in"), ("text", "no photo in")]:
        with pytest.raises(FiguregroundError, match=message):
            find_jobs([tmp_path / name])


def test_a_missing_file_among_others_is_a_job_that_will_fail(photos):
    assert names(find_jobs([photos / "a.jpg", photos / "none.jpg"])) == ["a", "none"]


def test_a_file_that_is_named_counts_whatever_it_is_called(photos):
    assert names(find_jobs([photos / "notes.txt", photos / ".hidden.jpg"])) == ["notes", ".hidden"]


def test_the_same_name_in_two_folders_is_kept_apart(photos, tmp_path):
    other = tmp_path / "other" / "sub" / "a.jpg"
    other.parent.mkdir(parents=True)
    Image.new("RGB", (5, 4)).save(other)
    jobs = find_jobs([photos / "sub" / "a.jpg", other, photos / "sub" / "deep"])
    assert names(jobs) == ["photos/sub/a", "other/sub/a", "b"]


def test_a_photo_that_is_given_twice_counts_once(photos):
    output = photos / "masks"
    (photos / "link.jpg").symlink_to(photos / "a.jpg")
    assert len(find_jobs([photos, photos / "sub" / "a.jpg", photos / "sub"], output)) == 4


def test_no_two_photos_have_results_of_one_name(tmp_path):
    """a.jpg and a.png keep their suffixes, so the results of a.jpg.png must not be called a.jpg."""
    for name in ("a.jpg", "a.png", "a.jpg.png"):
        Image.new("RGB", (5, 4)).save(tmp_path / name)
    assert sorted(names(find_jobs([tmp_path]))) == ["a.jpg", "a.jpg.png", "a.png"]


def test_films_are_found_in_folders_and_kept_apart(photos):
    for name in ("clip.mp4", "clip.MOV", "sub/clip.mp4", "masks/clip.mp4"):
        (photos / name).write_bytes(b"")
    films = find_films([photos, photos / "a.jpg", photos / "none.mp4"], photos / "masks")
    assert sorted(names(films)) == ["clip.MOV", "clip.mp4", "none", "sub/clip"]
    assert not find_films([photos / "sub" / "deep"], None)


def test_what_is_a_picture_or_a_film_is_seen_by_its_first_bytes(tmp_path):
    for kind, name in (("JPEG", "photo.dat"), ("PNG", "noext"), ("BMP", "old.bin"), ("JPEG", "raw.dng")):
        Image.new("RGB", (5, 4)).save(tmp_path / name, kind)
    (tmp_path / "text.jpg").write_text("no picture, but called one")
    (tmp_path / "bmw.txt").write_text("BM as a text begins")
    (tmp_path / "book.m4b").write_bytes(b"\0\0\0\x20ftypM4B mp42")
    (tmp_path / "clip").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "noext")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "old.txt").write_text("a result")
    os.mkfifo(tmp_path / "pipe")  # which is not opened
    output = tmp_path / "masks"
    jobs, films = find_jobs([tmp_path], output), find_films([tmp_path], output)
    assert sorted(names(jobs)) == ["link", "old", "photo", "text"]  # the link comes before what it leads to
    assert names(films) == ["clip"]
    left_out = find_left_out([tmp_path, tmp_path / "empty"], output, [*jobs, *films])
    assert sorted(path.name for path in left_out) == ["bmw.txt", "book.m4b", "empty", "raw.dng"]


def test_copies_in_folders_are_left_out_and_change_no_name(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg")
    for name in ("a.jpg~", "a.jpg_original", "b.dat"):
        shutil.copy(tmp_path / "a.jpg", tmp_path / name)
    jobs = find_jobs([tmp_path])
    assert names(jobs) == ["a", "b"]
    assert [path.name for path in find_left_out([tmp_path], None, jobs)] == ["a.jpg_original", "a.jpg~"]
    assert len(find_jobs([tmp_path, tmp_path / "a.jpg~"])) == 3  # it was named


def test_files_with_a_pictures_name_are_not_opened(photos, monkeypatch):
    monkeypatch.setattr(Path, "open", lambda path, *_: pytest.fail(f"{path} was opened") if path.suffix else None)
    (photos / "notes.txt").unlink()
    assert len(find_jobs([photos])) == 5


def test_a_folder_without_photos_where_none_is_required(tmp_path):
    assert find_jobs([tmp_path], required=False) == []


def test_a_path_that_cannot_be_looked_up_is_a_job_that_will_fail(photos):
    long = Path("x" * 300 + ".jpg")  # of which Python says so, like a folder that may not be entered
    with pytest.raises(OSError, match="File name too long"):
        long.is_dir()
    assert names(find_jobs([long, photos / "sub"])) == ["x" * 300, "a", "deep/b"]
    assert names(find_jobs([long])) == ["x" * 300]
    assert find_films([long], None) == []
