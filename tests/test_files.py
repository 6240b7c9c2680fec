import os
import threading

import pytest

from figureground.config import read_settings
from figureground.errors import FiguregroundError
from figureground.evaluation import read_metadata
from figureground.files import decode_text, read_list, read_text

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
"""The last three with their byte order marks."""


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\0"])
def test_lists_as_other_programs_save_them(encoding, end):
    names = ["exif/o1.jpg", "  exif/ö 2.jpg"]
    assert read_list(end.join(names).encode(encoding), "list") == names
    assert read_list((end.join(names) + end).encode(encoding), "list") == names


@pytest.mark.parametrize("order", ["le", "be"])
def test_both_orders_of_utf_16(order):
    assert decode_text("\ufeffä".encode(f"utf-16-{order}"), "list") == "ä"


def test_names_need_not_be_utf_8():
    (name,) = read_list(b"caf\xe9.jpg\n", "list")
    assert os.fsencode(name) == b"caf\xe9.jpg"


def test_lines_end_where_files_end_them():
    """Python's ``splitlines`` would also cut names at a form feed or U+2028, which may be in them."""
    assert read_list("a\x0cb\u2028c\n\n \nd".encode(), "list") == ["a\x0cb\u2028c", "d"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("abc\n".encode("utf-16-le"), "list looks like UTF-16 without a byte order mark; save it as UTF-8"),
        (b"\xff\xfea", r"list is no text in utf-16 \(truncated data\); save it as UTF-8"),
        (b"caf\xe9,1\n", r"list is no text in UTF-8 \(invalid continuation byte\); save it as UTF-8"),
    ],
)
def test_other_encodings_are_named(data, words):
    with pytest.raises(FiguregroundError, match=words):
        decode_text(data, "list")


def test_what_cannot_be_read(tmp_path):
    for name, words in (("none.txt", "No such file or directory"), (".", "Is a directory")):
        with pytest.raises(FiguregroundError, match=rf"cannot be read \({words}\); expected a text file"):
            read_text(tmp_path / name)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_settings_and_tables_in_every_encoding(tmp_path, encoding):
    (tmp_path / "mine.yaml").write_bytes("epochs: 3\r\n".encode(encoding))
    (tmp_path / "rooms.csv").write_bytes("name,room\ra,Küche\r".encode(encoding))
    assert read_settings(tmp_path / "mine.yaml") == {"epochs": 3}
    assert read_metadata(tmp_path / "rooms.csv", ["a"]) == {"room": ["Küche"]}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_read_as_a_file(tmp_path):
    """As ``--config <(...)`` gives one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("epochs: 4\n"))
    writer.start()
    assert read_settings(pipe) == {"epochs": 4}
    writer.join()
