"""The page in a browser, against a service whose answers are known: the probability of a pixel is its red / 255."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

BROAD, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


def photo(red, name="photo.png", orientation=None):
    """A file to choose whose red is as given, (H, W)."""
    pixels = np.stack([np.asarray(red, np.uint8), np.full_like(red, 90, np.uint8), np.full_like(red, 30, np.uint8)], 2)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", exif=exif)
    return {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}


def halves(left=255, right=0, height=30, width=40):
    red = np.full((height, width), right, np.uint8)
    red[:, : width // 2] = left
    return red


def choose(page, *photos):
    page.locator("#files").set_input_files(list(photos))


def finished(page):
    page.locator("#cover").wait_for(state="hidden")


def saved(page, kind=None, button="Save picture"):
    """What the button saves: its name and the picture."""
    if kind:
        page.get_by_label(kind, exact=True).check(force=True)
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    content = waiting.value.path().read_bytes()
    return waiting.value.suggested_filename, content


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)


@pytest.fixture
def page(opened, service):
    return opened(service.address, viewport=BROAD)


def test_a_photo_becomes_a_mask_a_cutout_and_a_picture_on_a_colour(page, service):
    choose(page, photo(halves(), "Felix.jpg.png"))
    finished(page)
    name, mask = saved(page, "Mask")
    assert name == "Felix.jpg-mask.png"
    np.testing.assert_array_equal(pixels(mask)[..., 0], halves())
    name, cutout = saved(page, "Cut-out")
    assert name == "Felix.jpg-cutout.png"
    np.testing.assert_array_equal(pixels(cutout)[..., 3], halves())
    np.testing.assert_array_equal(pixels(cutout)[0, 0], [255, 90, 30, 255])
    _, overlay = saved(page, "Overlay")
    np.testing.assert_array_equal(pixels(overlay)[0, 39], [0, 90, 30, 255])
    np.testing.assert_allclose(pixels(overlay)[0, 0], [255, 45, 45, 255], atol=1)
    page.get_by_label("On a colour").check(force=True)
    page.locator("#colour").fill("#102030")
    _, coloured = saved(page)
    np.testing.assert_array_equal(pixels(coloured)[0, 39], [0x10, 0x20, 0x30, 255])
    np.testing.assert_array_equal(pixels(coloured)[0, 0], [255, 90, 30, 255])
    assert service.asked == ["/v1/segment?output=probability&model=pets"]


def test_a_picture_behind_covers_and_shows_its_middle(page):
    choose(page, photo(halves()))
    finished(page)
    with page.expect_file_chooser() as chooser:
        page.get_by_label("On a picture").check(force=True)
    chooser.value.set_files([photo(halves(10, 200, height=10, width=100), "wall.png")])
    page.get_by_role("button", name="Choose another picture").wait_for()
    _, content = saved(page)
    np.testing.assert_array_equal(pixels(content)[15, 39], [200, 90, 30, 255])
    np.testing.assert_array_equal(pixels(content)[15, 0], [255, 90, 30, 255])


def test_the_threshold_moves_without_another_request(page, service):
    choose(page, photo(np.tile(np.arange(0, 250, 10, dtype=np.uint8), (20, 1))))
    finished(page)
    page.get_by_label("Threshold").fill("0.2")
    _, mask = saved(page, "Mask")
    np.testing.assert_array_equal(pixels(mask)[0, :, 0], 255 * (np.arange(0, 250, 10) > 51))  # 0.2 of 255
    page.get_by_role("button", name="Reset").click()
    _, mask = saved(page)
    np.testing.assert_array_equal(pixels(mask)[0, :, 0], 255 * (np.arange(0, 250, 10) > 127.5))
    assert len(service.asked) == 1


def test_photos_chosen_before_the_models_are_known_are_asked_for_once(page, service):
    held = []
    page.route("**/v1/models", lambda route: held.append(route))  # noqa: PLW0108 (Playwright marks it)
    page.reload(wait_until="domcontentloaded")
    choose(page, photo(halves()))
    held[0].continue_()
    finished(page)
    assert service.asked == ["/v1/segment?output=probability&model=pets"]


def test_all_sixteen_bits_of_a_probability_are_read(page):
    values = np.random.default_rng(0).integers(0, 65536, (37, 53)).astype(np.uint16)
    values[10:20] = np.arange(53) * 300  # rows for which other filters are chosen
    for pattern in (values, np.sort(values, 0), np.sort(values, 1)):
        content = io.BytesIO()
        Image.fromarray(pattern).save(content, "PNG", optimize=True)
        read = page.evaluate(
            """async (bytes) => { const png = await import('/static/png.js');
               const grey = await png.readGrey(new Blob([new Uint8Array(bytes)]));
               return [grey.width, grey.height, [...grey.values]]; }""",
            list(content.getvalue()),
        )
        assert read[:2] == [53, 37]
        np.testing.assert_array_equal(read[2], pattern.ravel())


def test_the_brush_adds_and_takes_away_by_keys_and_is_undone(page):
    choose(page, photo(halves(height=300, width=400)))
    finished(page)
    page.get_by_label("Add", exact=True).check(force=True)
    canvas = page.locator("#canvas")
    canvas.focus()
    for _ in range(4):  # 48 pixels of the screen each
        canvas.press("Shift+ArrowRight")
    canvas.press(" ")
    scale = min(960 / 400, 743 / 300)
    x = 200 + round(4 * 48 / scale)
    _, mended = saved(page, "Mask")
    assert set(np.unique(pixels(mended)[..., 0])) == {0, 255}
    assert pixels(mended)[150, x, 0] == 255
    assert pixels(mended)[150 - 20, x, 0] == 0
    page.get_by_label("Take away").check(force=True)
    canvas.press(" ")  # from the middle of what is shown
    assert pixels(saved(page)[1])[150, 198, 0] == 0
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    np.testing.assert_array_equal(pixels(saved(page)[1])[..., 0], halves(height=300, width=400))
    assert page.get_by_role("button", name="Undo").is_disabled()
    page.get_by_role("button", name="Redo").click()
    np.testing.assert_array_equal(pixels(saved(page)[1]), pixels(mended))


def test_the_brush_paints_where_the_pointer_goes_at_any_zoom(page):
    choose(page, photo(np.zeros((200, 200), np.uint8)))
    finished(page)
    page.get_by_label("Add", exact=True).check(force=True)
    box = page.locator("#canvas").bounding_box()
    page.get_by_role("button", name="Actual size").click()
    page.mouse.move(box["x"] + box["width"] / 2 - 50, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 50, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    mask = pixels(saved(page, "Mask")[1])[..., 0] > 0
    zoom = min(box["width"], box["height"]) / 200  # it does not become smaller than the stage
    assert np.ptp(np.flatnonzero(mask.any(0))) == pytest.approx(124 / zoom, abs=2)
    assert np.ptp(np.flatnonzero(mask.any(1))) == pytest.approx(24 / zoom, abs=2)
    assert np.flatnonzero(mask.any(0)).mean() == pytest.approx(100, abs=1)


def test_a_photo_that_lies_is_shown_upright(page):
    choose(page, photo(halves(height=30, width=40), orientation=6))
    finished(page)
    mask = pixels(saved(page, "Mask")[1])[..., 0]
    np.testing.assert_array_equal(mask, np.rot90(halves(height=30, width=40), -1))


def test_many_are_saved_as_one_zip_each_under_its_own_name(page):
    choose(page, photo(halves(), "Kätzchen.jpg"), photo(halves(0, 255), "b.png"), photo(halves(255, 255), "b.png"))
    page.get_by_text("3 of 3 done").wait_for()
    page.get_by_label("Mask").check(force=True)
    name, content = saved(page, button="Save all as ZIP")
    assert name == "figureground.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == ["Kätzchen-mask.png", "b-mask.png", "b-mask-2.png"]
        np.testing.assert_array_equal(pixels(packed.read("b-mask.png"))[..., 0], halves(0, 255))


def test_each_photo_keeps_its_own_threshold_and_strokes(page):
    choose(page, photo(halves(100, 0), "a.png"), photo(halves(100, 0), "b.png"))
    page.get_by_text("2 of 2 done").wait_for()
    page.get_by_label("Threshold").fill("0.3")
    page.get_by_role("button", name="b.png").click()
    finished(page)
    assert page.get_by_label("Threshold").input_value() == "0.5"
    assert not pixels(saved(page, "Mask")[1])[..., 0].any()
    page.get_by_role("button", name="a.png").click()
    np.testing.assert_array_equal(pixels(saved(page)[1])[..., 0], halves())
    page.get_by_role("button", name="Use for all photos").click()
    page.get_by_role("button", name="b.png").click()
    np.testing.assert_array_equal(pixels(saved(page)[1])[..., 0], halves())


def test_a_busy_service_is_asked_again(page, service):
    service.refusals += [(429, {"Retry-After": "0.2"}, {"title": "Busy"}), (503, {}, {"title": "Busy"})]
    choose(page, photo(halves()))
    page.get_by_text("Busy; tries again in").first.wait_for()
    finished(page)
    assert len(service.asked) == 3


def test_a_refusal_is_told_in_its_words_and_can_be_tried_again(page, service):
    service.refusals.append((422, {}, {"title": "Not a photo", "detail": "the body is cut short; send it again"}))
    choose(page, photo(halves()))
    page.get_by_text("Not a photo: the body is cut short; send it again").first.wait_for()
    page.get_by_role("button", name="Try again").click()
    finished(page)
    np.testing.assert_array_equal(pixels(saved(page, "Mask")[1])[..., 0], halves())


def test_a_key_is_asked_for_and_sent(page, service):
    service.refusals.append((401, {}, {"title": "No key"}))
    choose(page, photo(halves()))
    page.locator("#key").fill("secret")
    with page.expect_request("**/v1/segment*") as request:
        page.get_by_role("button", name="Use it").click()
    assert request.value.headers["authorization"] == "Bearer secret"
    finished(page)


def test_a_service_that_is_gone_is_told(page):
    page.context.set_offline(True)
    choose(page, photo(halves()))
    page.get_by_text("The service does not answer.").first.wait_for()


@pytest.mark.parametrize(
    ("estimate", "words", "reason"),
    [
        ("0.97", "Looks very good", "Estimated overlap with a perfect mask: 97%."),
        ("0.62", "Needs review", "Look at it before you use it. Estimated overlap with a perfect mask: 62%."),
        ("", "Done", ""),
    ],
)
def test_the_estimate_is_said_in_words(page, service, estimate, words, reason):
    service.estimate = estimate
    choose(page, photo(halves()))
    finished(page)
    assert page.locator("#verdict-words").inner_text() == words
    assert page.locator("#verdict-reason").inner_text() == reason


def test_what_is_no_picture_is_left_out_and_a_broken_one_is_named(page, service):
    choose(page, {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no"})
    page.get_by_text("notes.txt is no picture and was left out.").wait_for()
    choose(page, {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"no"})
    page.get_by_text("This browser cannot show this kind of picture.").first.wait_for()
    assert not service.asked


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(page, how):
    page.evaluate(
        """async ([how, bytes]) => { const data = new DataTransfer();
           data.items.add(new File([new Uint8Array(bytes)], 'x.png', {type: 'image/png'}));
           dispatchEvent(how === 'drop' ? new DragEvent('drop', {dataTransfer: data, bubbles: true})
                                        : new ClipboardEvent('paste', {clipboardData: data})); }""",
        [how, list(photo(halves())["buffer"])],
    )
    finished(page)
    np.testing.assert_array_equal(pixels(saved(page, "Mask")[1])[..., 0], halves())


def test_the_divider_goes_by_keys_and_shows_the_original_to_its_left(page):
    choose(page, photo(halves(0, 0, height=300, width=400)))
    finished(page)
    divider = page.get_by_role("slider", name="Compare")
    divider.focus()
    divider.press("Home")
    shot = pixels(page.locator("#stage").screenshot())
    y, x = shot.shape[0] // 3, shot.shape[1] // 4
    assert shot[y, x, 0] > 200  # the checkerboard: nothing is figure
    divider.press("End")
    page.wait_for_timeout(100)
    np.testing.assert_array_equal(pixels(page.locator("#stage").screenshot())[y, x], [0, 90, 30, 255])


def test_everything_is_reached_by_tab(page):
    choose(page, photo(halves()))
    finished(page)
    page.locator("#add").focus()
    reached = set()
    for _ in range(18):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert reached >= {"canvas", "divider", "larger", "kind", "threshold", "brush", "size", "save"}


@pytest.mark.parametrize("viewport", [PHONE, BROAD, {"width": 3840, "height": 2160}], ids=["360", "1280", "3840"])
def test_it_fits_and_axe_finds_nothing_serious(opened, service, viewport):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    page = opened(service.address, viewport=viewport)

    def examine(state):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = axe.run(page).response["violations"]
            found = [each for each in found if each["impact"] in ("serious", "critical")]
            assert not [(each["id"], each["nodes"][0]["html"]) for each in found], (state, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], state

    examine("empty")
    service.estimate = "0.62"
    service.refusals.append((422, {}, {"title": "Not a photo", "detail": "the body is cut short; send it again"}))
    choose(page, photo(halves(), "a name that is too long to be shown as a whole anywhere.png"), photo(halves()))
    page.get_by_text("1 of 2 done, 1 failed").wait_for()
    examine("two photos, one failed")
    page.locator("#photos [data-state=review]").click()
    finished(page)
    page.get_by_label("Take away").check(force=True)
    page.get_by_label("On a colour").check(force=True)
    examine("brush")


def test_nothing_comes_from_elsewhere(opened, service):
    asked = []
    page = opened("about:blank", viewport=BROAD)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(service.address)
    choose(page, photo(halves()))
    finished(page)
    assert {url for url in asked if not url.startswith((service.address, "blob:", "data:"))} == set()
