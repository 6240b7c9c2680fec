import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from figureground.errors import FiguregroundError
from figureground.onnx_metadata import read_onnx_metadata


@pytest.fixture
def write(tmp_path):
    def write(*parts):
        path = tmp_path / "model.onnx"
        path.write_bytes(b"".join(parts))
        return path

    return write


def entry(key, value):
    """A metadata entry as protocol buffers write it: field 14 of entries, key 1 and value 2."""
    key, value = key.encode(), value.encode()
    inner = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
    return b"\x72" + bytes([len(inner)]) + inner


def model_with(metadata):
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3], np.ones(3, np.float32))
    graph = helper.make_graph([], "g", [], [], [weights])
    model = helper.make_model(graph, producer_name="somebody", doc_string="x" * 300)
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": "b"},
        {"a": "1", "b": "2", "figureground": "{}"},
        {"ключ": "猫 – ©", "empty": ""},
        {"long": "y" * 100_000},  # a length of three bytes
    ],
)
def test_what_the_onnx_package_writes(write, metadata):
    assert read_onnx_metadata(write(model_with(metadata))) == metadata


def test_a_real_export(narrow_onnx):
    expected = {item.key: item.value for item in onnx.load(narrow_onnx).metadata_props}
    assert read_onnx_metadata(narrow_onnx) == expected
    assert list(expected) == ["figureground", "figureground.proof"]


def test_every_kind_of_field_is_skipped(write):
    number = b"\x08\x96\x01"  # field 1, a number of variable length: 150
    eight = b"\x11" + bytes(8)  # field 2, eight bytes
    four = b"\x1d" + bytes(4)  # field 3, four bytes
    text = b"\x22\x03abc"  # field 4, a length and so many bytes
    far = b"\x82\x7d\x01z"  # field 2000, whose key takes two bytes
    path = write(number, entry("a", "1"), eight, four, entry("b", "2"), text, far, entry("c", "3"))
    assert read_onnx_metadata(path) == {"a": "1", "b": "2", "c": "3"}


def test_the_last_of_equal_keys_counts(write):
    assert read_onnx_metadata(write(entry("a", "1"), entry("a", "2"))) == {"a": "2"}


def test_an_entry_without_a_value_is_empty(write):
    assert read_onnx_metadata(write(b"\x72\x03\x0a\x01a")) == {"a": ""}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot mmap an empty file"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x72\x7fab", "it ends 125 bytes early"),
        (b"\x08\x80", "it ends within a number"),
        (b"\x08" + b"\xff" * 11, "a number of more than ten bytes"),
        (b"\x72\x06\x0a\x01a\x12\x05b", "it ends 4 bytes early"),  # a value that goes beyond its entry
        (b"\x72\x05\x0a\x01a\x12\x00\xff", "ends within a number"),
        (b"\x72\x06\x0a\x01a\x12\x01\xff", "utf-8"),
        (b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "bytes early"),  # a length of 2^64 - 1
        (b"just a few words, as an editor saves them", "bytes early"),
    ],
)
def test_broken_files(write, content, reason):
    path = write(content)
    with pytest.raises(FiguregroundError) as refused:
        read_onnx_metadata(path)
    assert str(path) in str(refused.value)
    assert "is not a readable .onnx file" in str(refused.value)
    assert reason in str(refused.value)


def test_no_file(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(FiguregroundError, match="no such file"):
            read_onnx_metadata(path)


def read_or_refused(path):
    try:
        return read_onnx_metadata(path)
    except FiguregroundError:
        return None


def test_a_file_cut_anywhere_is_refused_or_lacks_its_end(write):
    metadata = {"figureground": '{"a": "猫"}', "more": "2"}
    content = model_with(metadata)
    for length in range(len(content)):
        found = read_or_refused(write(content[:length]))
        assert found is None or found.items() < metadata.items()


def test_a_byte_changed_anywhere_is_no_crash(write):
    content = model_with({"figureground": '{"a": "猫"}'})
    rng = np.random.default_rng(0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] = rng.integers(256)
        read_or_refused(write(bytes(changed)))
