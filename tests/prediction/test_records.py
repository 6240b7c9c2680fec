import json
import os

from figureground.errors import CannotWriteError
from figureground.prediction.origins import UNKNOWN, Origins, Source
from figureground.prediction.records import Records


def test_what_others_add_is_seen_once_it_is_whole(tmp_path):
    """And the place that was told when a record was added is where it is found."""
    mine, theirs = Records(tmp_path / "r.jsonl"), Records(tmp_path / "r.jsonl")
    assert (mine.places(), mine.latest("a")) == ({}, {})
    first = theirs.add({"file_name": "a", "n": 1})
    assert mine.places() == {"a": first}
    with (tmp_path / "r.jsonl").open("ab") as file:
        file.write(b'\n{"file_name": "a",')
        file.flush()
        assert mine.latest("a")["n"] == 1
        file.write(b' "n": 2}')
    assert mine.latest("a")["n"] == 2
    with (tmp_path / "r.jsonl").open("ab") as file:
        file.write(b'\n{"file_name": "b", "n"')  # of a process that is killed here
    last = theirs.add({"file_name": "c", "n": 3})
    assert mine.places() == {"a": first + len('{"file_name": "a", "n": 1}\n'), "c": last}
    assert json.loads((tmp_path / "r.jsonl").read_bytes()[last:])["n"] == 3
    assert Records(tmp_path / "r.jsonl").places() == mine.places()


def test_of_two_processes_that_write_one_result_the_record_of_the_one_that_stays_counts(tmp_path):
    """Whichever is written last; and what neither has written is known of neither."""
    (tmp_path / "a.jpg").write_bytes(b"photo")
    origins, source = Origins(tmp_path), Source(tmp_path / "a.jpg")
    for stamp, model in (([10, 2], "staying"), ([10, 1], "replaced")):
        origins.add("a.png", stamp, {"model": model}, source)
    assert origins.found([("a.png", [10, 2], {"model": "staying"})], source) == ([], "")
    assert origins.found([("a.png", [10, 2], {"model": "replaced"})], source) == (["a.png"], "made anew: model changed")
    assert origins.found([("a.png", [10, 3], {"model": "staying"})], source) == ([], UNKNOWN)


def test_records_that_another_process_cuts_short_or_removes_are_forgotten(tmp_path):
    path = tmp_path / "r.jsonl"
    records = Records(path)
    for name in "ab":
        records.add({"file_name": name})
    assert sorted(records.places()) == ["a", "b"]
    path.write_bytes(path.read_bytes()[:-1])
    assert (list(records.places()), records.latest("b")) == (["a"], {})
    path.unlink()
    assert records.latest("a") == {}
    records.add({"file_name": "c"})
    assert records.places() == {"c": 1}


def test_a_moved_photo_is_known_again_where_nothing_can_be_recorded(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"photo")
    origins = Origins(tmp_path)
    origins.add("a.png", [10, 2], {}, Source(tmp_path / "a.jpg"))
    (tmp_path / "a.jpg").rename(tmp_path / "b.jpg")

    def read_only(*_):
        raise CannotWriteError("a folder that may only be read")

    monkeypatch.setattr(Records, "add", read_only)
    assert origins.found([("a.png", [10, 2], {})], Source(tmp_path / "b.jpg")) == ([], "")


def test_what_can_be_read_only_once_has_no_digest(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none.png"):
        source = Source(tmp_path / name)
        assert (source.name, source.stamp, source.digest) == (str(tmp_path / name), None, None)
