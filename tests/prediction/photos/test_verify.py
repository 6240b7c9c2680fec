import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from figureground.bundle import read_info, read_proof, read_tensors, replace_info, write_bundle
from figureground.errors import BadBundleError
from figureground.export.onnx import store_in_float16, write_info
from figureground.onnx_metadata import sum_of_onnx
from figureground.prediction import open_member
from figureground.prediction.photos.verify import vector_inputs, vector_logits, verify
from figureground.pretrained import pretrained_bundle


@pytest.fixture
def proven(narrow_bundle, tmp_path):
    """A .safetensors bundle with its test vectors."""
    path = shutil.copy(narrow_bundle, tmp_path / "a.safetensors")
    member = open_member(path)
    replace_info(path, member.info, vector_logits(member.engine, (32, 48)))
    return path


def results(found):
    return {each.engine: each.result for each in found.engines}


def test_inputs_are_made_of_whole_numbers():
    slope, texture = vector_inputs((32, 48))
    assert slope.shape == (3, 32, 48)
    assert slope[:, 16, 24].tolist() == [230 / 64 - 2, 190 / 64 - 2, 150 / 64 - 2]
    assert slope[:, 0, 0].tolist() == [20 / 64 - 2] * 3
    assert texture[1, 2, 3] == (6 + 15 + 60 + 6) / 64 - 2


def test_what_is_as_it_was_written(proven, narrow_onnx):
    found = verify(proven)
    assert (found.sum, results(found), found.well) == ("right", {"torch": "right"}, True)
    assert found.engines[0].difference == pytest.approx(0, abs=1e-4)
    found = verify(narrow_onnx)
    assert (found.sum, set(results(found).values()), found.well) == ("right", {"right"}, True)


@pytest.mark.parametrize("kind", ["proven", "narrow_onnx"])
def test_any_changed_byte_of_the_weights_is_noticed(request, tmp_path, kind):
    path = request.getfixturevalue(kind)
    content, other = path.read_bytes(), tmp_path / f"other{path.suffix}"
    if kind == "proven":
        start, stop = 8 + int.from_bytes(content[:8], "little"), len(content)
    else:
        start, stop = 0, content.rindex(b"\x0a\x0cfigureground") - 10  # behind the graph come the metadata
    for place in np.random.default_rng(0).integers(start, stop, 30):
        changed = bytearray(content)
        changed[place] ^= 1 << int(place) % 8
        other.write_bytes(changed)
        with pytest.raises(BadBundleError):
            open_member(other)
        try:
            found = verify(other)
        except BadBundleError:  # it cannot even be read
            continue
        assert (found.sum, found.well) == ("wrong", False)
        assert "was changed or damaged since it was written" in found.said


@pytest.mark.parametrize("kind", ["proven", "narrow_onnx"])
def test_a_changed_digit_of_the_metadata_is_noticed(request, tmp_path, kind):
    path = request.getfixturevalue(kind)
    other = tmp_path / f"other{path.suffix}"
    content = path.read_bytes()
    quote = b'\\"' if kind == "proven" else b'"'  # the header of safetensors is JSON itself
    digit = content.index(b"threshold" + quote + b": 0.") + len(b"threshold" + quote + b": 0.")
    other.write_bytes(content[:digit] + bytes([content[digit] ^ 1]) + content[digit + 1 :])
    with pytest.raises(BadBundleError, match="its metadata are not those of its sum"):
        open_member(other)
    found = verify(other)
    assert (found.sum, found.well) == ("wrong", False)


def test_files_without_a_sum_of_their_metadata_are_read(proven, monkeypatch):
    info = read_info(proven)
    with monkeypatch.context() as earlier:
        earlier.setattr("figureground.bundle._sum_of_text", lambda text: "")
        replace_info(proven, info)
    assert read_proof(proven).info == ""
    assert verify(proven).well


def test_logits_that_are_not_those_written(proven):
    info, logits = read_info(proven), np.array(read_proof(proven).logits)
    allowed = 0.01 * np.abs(logits).max()
    logits[20] += 0.5 * allowed
    replace_info(proven, info, logits.tolist())
    assert verify(proven).well
    logits[20] += 1.5 * allowed
    replace_info(proven, info, logits.tolist())
    found = verify(proven)
    assert (found.sum, results(found), found.well) == ("right", {"torch": "wrong"}, False)
    assert found.engines[0].difference == pytest.approx(2 * allowed, rel=0.01)
    replace_info(proven, info, logits[:5].tolist())
    assert "5 logits are written, 32 expected" in verify(proven).engines[0].said


def test_other_metadata_keep_the_proof(proven, narrow_onnx, tmp_path):
    before = read_proof(proven)
    assert len(before.logits) == 32
    replace_info(proven, replace(read_info(proven), licence="MIT"))
    assert read_proof(proven) == replace(before, info=read_proof(proven).info)
    assert read_proof(proven).info != before.info
    exported = shutil.copy(narrow_onnx, tmp_path / "a.onnx")
    write_info(exported, replace(read_info(exported), licence="MIT"))
    assert read_proof(exported).sha256 == read_proof(narrow_onnx).sha256
    assert len(read_proof(exported).logits) == 32
    store_in_float16(exported)
    with pytest.raises(BadBundleError, match="was changed or damaged"):
        open_member(exported)
    write_info(exported, read_info(exported))
    assert verify(exported).sum == "right"
    assert read_proof(exported).logits == ()  # they were another network's


def test_other_weights_have_another_sum(proven):
    tensors = read_tensors(proven)
    before = read_proof(proven)
    write_bundle(proven, tensors, read_info(proven))
    assert read_proof(proven) == replace(before, logits=())  # whose vectors were not said
    assert results(verify(proven)) == {"torch": "none"}
    write_bundle(proven, {**tensors, "head.bias": tensors["head.bias"] + 1}, read_info(proven))
    assert read_proof(proven).sha256 != before.sha256


def test_files_without_a_sum_are_read(bright_onnx):
    found = verify(bright_onnx)
    assert (found.sum, found.engines, found.well) == ("none", (), True)
    assert "carries no sum" in found.said


def test_the_sum_is_of_all_but_the_metadata(narrow_onnx, tmp_path):
    entry = b"\x72\x06\x0a\x01a\x12\x01b"
    (tmp_path / "more.onnx").write_bytes(narrow_onnx.read_bytes() + entry)
    assert sum_of_onnx(tmp_path / "more.onnx") == sum_of_onnx(narrow_onnx)


def test_a_damaged_proof_is_named(narrow_bundle, tmp_path):
    content = narrow_bundle.read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content.replace(b"sha256", b"sha257"))
    with pytest.raises(BadBundleError, match="unknown setting 'sha257'"):
        open_member(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["model.bin", "M.SAFETENSORS"])
def test_a_file_of_another_suffix(proven, tmp_path, in_process, name):
    shutil.copy(proven, tmp_path / name)
    with pytest.raises(BadBundleError, match=r"is no bundle; expected a file that ends in: \.safetensors, \.onnx"):
        verify(tmp_path / name)
    status, out, _ = in_process("verify", tmp_path / name)
    assert (status, "is no bundle" in out) == (1, True)


def test_the_command(proven, tmp_path, in_process):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(pretrained_bundle("pets").read_bytes()[:1000])
    (tmp_path / "v.json").write_text("of another time")
    assert in_process("verify", "pets", "--json", tmp_path / "v.json")[0] == 1  # not without --overwrite
    status, out, _ = in_process("verify", proven, "pets", cut, "--json", tmp_path / "v.json", "--overwrite")
    assert status == 1
    assert out.count("  sum ") == 3
    models = json.loads((tmp_path / "v.json").read_text())["models"]
    assert [(each["sum"], each["well"]) for each in models] == [("right", True), ("right", True), ("wrong", False)]
    assert {each["engine"] for each in models[1]["engines"]} == {"onnxruntime", "openvino"}
    assert in_process("verify", proven)[0] == 0


def test_a_network_of_numbers_that_are_none(proven):
    tensors = {**read_tensors(proven), "head.bias": np.full(1, np.nan, np.float32)}
    write_bundle(proven, tensors, read_info(proven), read_proof(proven).logits)
    assert not verify(proven).well
