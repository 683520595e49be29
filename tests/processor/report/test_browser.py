"""The page in a browser: what it shows, and what pointer, keys and search do.

What follows an action is waited for (``expect``): a busy machine has the page's next event, or the
browser's next frame, late.
"""

import io
import re
import time

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.processor.report.conftest import Open
from tests.processor.report.test_page import HOSTILE
from tests.support.drawn_reports import points, summary

pytestmark = pytest.mark.browser
WIDTHS = (320, 360, 768, 1280)


def middle(it: Page) -> tuple[float, float]:
    """Of the map, where photo 0 is."""
    box = it.locator(".map").bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def symmetric(count: int = 41) -> dict[str, np.ndarray]:
    """Photo 0 in the middle, the others around it in pairs that face each other."""
    angle = np.arange(1, count) // 2 * 2 * np.pi / (count - 1)
    side = np.where(np.arange(1, count) % 2, 1, -1)[:, None]
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1) * side
    return {"xy": np.vstack([np.zeros((1, 2)), around]).astype(np.float32)}


def sideways(it: Page) -> int:
    """Pixels by which the page is wider than the window."""
    return it.evaluate(
        "document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
    )


def expect_colours(it: Page, more_than: int) -> None:
    """In the map, which has few where nothing is drawn."""
    count = 0
    end = time.monotonic() + 20
    while count <= more_than and time.monotonic() < end:
        with Image.open(io.BytesIO(it.locator(".map").screenshot())) as image:
            count = len(image.convert("RGB").getcolors(1 << 24) or ())
    assert count > more_than


def expect_change(it: Page, *before: bytes) -> bytes:
    """A screenshot of the map that is none of these."""
    shown = it.locator(".map").screenshot()
    end = time.monotonic() + 20
    while shown in before and time.monotonic() < end:
        shown = it.locator(".map").screenshot()
    assert shown not in before
    return shown


def found(it: Page) -> Locator:
    """What the page says of a search."""
    return it.get_by_role("status")


def test_it_opens(opened: Open) -> None:
    it = opened(summary(), points(200))
    assert it.locator(".map").get_attribute("data-drawn-by") == "webgl2"
    assert "1,142" in it.locator(".figures").inner_text()
    headings = it.locator("h2").all_inner_texts()
    assert headings[:3] == ["Map", "Explained variance", "Photos stored per hour"]
    assert "99.82 %" in it.locator("#fits").inner_text()
    it.locator("#refused summary", has_text="truncated").click()
    expect(it.get_by_text("photos/pear/7.jpg")).to_be_visible()
    expect_colours(it, 500)


def test_hover_shows_the_photo(opened: Open) -> None:
    it = opened(summary(), points(41, **symmetric()))
    assert it.locator(".tip").is_hidden()
    it.mouse.move(*middle(it))
    it.wait_for_selector(".tip:visible")
    assert it.locator(".tip").inner_text().split() == ["apple", "0.jpg"]
    expect(it.locator(".tip canvas")).to_have_count(1)
    it.mouse.move(2, 2)
    it.wait_for_selector(".tip", state="hidden")


def test_a_click_shows_the_neighbours_each_of_which_can_be_clicked(opened: Open) -> None:
    given = points(41, **symmetric())
    it = opened(summary(), given)
    it.mouse.click(*middle(it))
    it.wait_for_selector(".neighbours")
    expect(it.locator(".portrait .key bdi")).to_have_text(given.keys[0])
    expect(it.locator(".neighbours li")).to_have_count(10)
    assert it.locator(".neighbours .cosine").all_inner_texts()[:2] == ["0.990", "0.980"]
    expect(it.locator(".neighbours canvas")).to_have_count(10)
    it.locator(".neighbours button").nth(2).click()
    expect(it.locator(".portrait .key bdi")).to_have_text(given.keys[3])
    it.get_by_role("button", name="Close").click()
    expect(it.locator(".neighbours")).to_have_count(0)


def test_search(opened: Open) -> None:
    given = points(60)
    it = opened(summary(), given)
    it.fill("#search", "/17.JPG")
    expect(found(it)).to_have_text("1 of 60 photos")
    expect(it.locator(".photos li")).to_have_count(1)
    it.press("#search", "Enter")
    it.wait_for_selector(".neighbours")
    expect(it.locator(".portrait .key bdi")).to_have_text(given.keys[17])
    it.fill("#search", "pear")
    expect(found(it)).to_have_text(f"{given.labels.count('pear')} of 60 photos")
    it.fill("#search", "no such")
    expect(found(it)).to_have_text("0 of 60 photos")
    it.press("#search", "Escape")
    expect(it.locator("#search")).to_have_value("")
    expect(found(it)).to_have_text("")


def test_the_legend_filters(opened: Open) -> None:
    given = points(60)
    it = opened(summary(), given)
    before = it.locator(".map").screenshot()
    it.locator(".label", has_text="plum").click()
    expect(it.locator(".label", has_text="plum")).to_have_attribute("aria-pressed", "true")
    expect(found(it)).to_have_text(f"{given.labels.count('plum')} of 60 photos")
    expect_change(it, before)
    it.get_by_role("button", name="Show all").click()
    expect(found(it)).to_have_text("")


def test_the_list_has_all_photos_in_pages(opened: Open) -> None:
    it = opened(summary(), points(60))
    it.get_by_text("These photos as a list").click()
    expect(it.locator(".photos li")).to_have_count(24)
    seen = it.locator(".photos .key").all_inner_texts()
    while it.get_by_role("button", name="More").is_visible():
        it.get_by_role("button", name="More").click()
        seen += it.locator(".photos .key").all_inner_texts()
    assert sorted(seen) == sorted(points(60).keys)
    it.locator(".photos button").last.click()
    it.wait_for_selector(".neighbours")


def test_by_keyboard_alone(opened: Open) -> None:
    given = points(41, **symmetric())
    it = opened(summary(), given)
    for _ in range(20):
        it.keyboard.press("Tab")
        if it.evaluate("document.activeElement.classList.contains('map')"):
            break
    outline = it.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    it.keyboard.press("+")
    it.keyboard.press("ArrowRight")
    it.keyboard.press("ArrowLeft")
    it.wait_for_selector(".tip:visible")
    expect(it.locator("[aria-live=polite]")).to_contain_text("0.jpg")
    it.keyboard.press("Enter")
    it.wait_for_selector(".neighbours")
    expect(it.locator(".portrait .key bdi")).to_have_text(given.keys[0])
    it.keyboard.press("Escape")
    expect(it.locator(".neighbours")).to_have_count(0)
    it.keyboard.press("/")
    assert it.evaluate("document.activeElement.id") == "search"
    expect(it.locator("#search")).to_have_value("")


def test_the_wheel_zooms_and_dragging_moves(opened: Open) -> None:
    it = opened(summary(), points(300))
    x, y = middle(it)
    it.mouse.move(x, y)
    before = it.locator(".map").screenshot()
    it.mouse.wheel(0, -400)
    zoomed = expect_change(it, before)
    it.mouse.down()
    it.mouse.move(x + 90, y + 40, steps=4)
    it.mouse.up()
    expect_change(it, before, zoomed)
    expect(it.locator(".neighbours")).to_have_count(0)  # a drag is no click


@pytest.mark.parametrize("hostile", [False, True])
def test_no_width_needs_scrolling_sideways(opened: Open, hostile: bool) -> None:
    odd = {"keys": [each * 3 for each in HOSTILE], "labels": HOSTILE} if hostile else {}
    it = opened(summary(labels=[(each, 1) for each in HOSTILE]), points(len(HOSTILE), **odd))
    it.mouse.click(*middle(it))
    for width in WIDTHS:
        it.set_viewport_size({"width": width, "height": 740})
        assert sideways(it) <= 0, width


def test_on_a_phone_a_tap_chooses(opened: Open) -> None:
    phone = {"width": 360, "height": 740}
    it = opened(
        summary(), points(41, **symmetric()), viewport=phone, has_touch=True, is_mobile=True
    )
    it.locator(".map").scroll_into_view_if_needed()
    it.touchscreen.tap(*middle(it))
    it.wait_for_selector(".neighbours")
    assert sideways(it) <= 0


def test_dark(opened: Open) -> None:
    it = opened(summary(), points(41), color_scheme="dark")
    light = "document.body.computedStyleMap().get('background-color').toString()"
    assert it.evaluate(light) == "rgb(20, 22, 24)"
    before = it.locator(".map").screenshot()
    it.emulate_media(color_scheme="light")
    assert it.evaluate(light) == "rgb(247, 245, 240)"
    expect_change(it, before)


def test_without_webgl(opened: Open) -> None:
    it = opened(summary(), points(400, thumbnails=[b""] * 400), webgl=False)
    assert it.locator(".map").get_attribute("data-drawn-by") == "canvas"
    expect_colours(it, 50)
    it.mouse.move(*middle(it))
    it.wait_for_selector(".tip:visible")


def test_without_a_gpu(opened: Open) -> None:
    """A browser that would draw WebGL by the processor draws on the canvas, five times as fast."""
    it = opened(summary(), points(400, thumbnails=[b""] * 400), gpu=False)
    assert it.locator(".map").get_attribute("data-drawn-by") == "canvas"
    expect_colours(it, 20)


def test_webgl_that_is_lost(opened: Open) -> None:
    """By the browser, on a machine that runs out of memory, say."""
    it = opened(summary(), points(400, thumbnails=[b""] * 400))
    it.evaluate(
        "document.querySelector('.canvases canvas').getContext('webgl2')"
        ".getExtension('WEBGL_lose_context').loseContext()"
    )
    it.wait_for_selector(".map[data-drawn-by=canvas]")
    expect_colours(it, 50)


def test_hostile_texts(opened: Open) -> None:
    """``opened`` fails on a dialog, an error or a request."""
    count = len(HOSTILE)
    it = opened(
        summary(labels=[(each, 1) for each in HOSTILE], bucket=HOSTILE[1], network=HOSTILE[0]),
        points(count, keys=HOSTILE, labels=HOSTILE),
    )
    assert it.locator("script:not([type])").count() == 1
    assert it.locator("img, iframe, object").count() == 0
    it.get_by_text("These photos as a list").click()
    expect(it.locator(".photos li")).to_have_count(min(count, 24))
    shown = it.locator(".photos .key").all_inner_texts()
    assert "photos/<script>alert(1)</script>.jpg" in shown
    assert "photos/gpj.\\u202efdp" in shown
    for n in range(count):
        it.locator(".photos button").nth(n).click()
    it.wait_for_selector(".neighbours")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_photos(opened: Open, count: int) -> None:
    it = opened(summary(photos=count, stored=[], fits=[], captured=None), points(count))
    if count:
        it.mouse.click(*(middle(it) if count == 1 else (300, 300)))
        it.fill("#search", "0.jpg")
        it.press("#search", "Enter")
        it.wait_for_selector(".portrait")
        expect(it.locator(".neighbours li")).to_have_count(count - 1)
    else:
        assert "No photo has coordinates yet" in it.locator("#map").inner_text()


def test_an_empty_store(opened: Open) -> None:
    bare = summary(
        photos=0,
        labels=[],
        kinds=0,
        rejects=[],
        pending=[],
        stored=[],
        explained_variance=[],
        captured=None,
        fits=[],
        versions={},
    )
    it = opened(bare, points(0))
    assert it.locator("#variance").inner_text().endswith("No PCA has been fitted yet.")
    assert it.locator("#refused").inner_text().count("None.") == 2
    assert sideways(it) <= 0


def test_without_labels_and_pictures(opened: Open) -> None:
    it = opened(
        summary(labels=[("", 30)], kinds=0), points(30, labels=[""] * 30, thumbnails=[b""] * 30)
    )
    assert it.locator(".legend").count() == 0
    assert it.get_by_role("button", name="Pictures").count() == 0
    expect_colours(it, 20)
    assert "the name of the folder" in it.locator("#labels").inner_text()


def test_a_sample_says_so(opened: Open) -> None:
    it = opened(summary(), points(20, population=1_200_000))
    assert "20 of 1,200,000 photos" in it.locator("#map").inner_text()


def test_every_control_has_a_name(opened: Open) -> None:
    it = opened(summary(), points(41, **symmetric()))
    it.mouse.click(*middle(it))
    it.wait_for_selector(".neighbours")
    nameless = it.evaluate(
        "[...document.querySelectorAll('button, input, [tabindex=\"0\"], summary, a')]"
        ".filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
    )
    assert nameless == 0
    assert it.evaluate("document.documentElement.lang") == "en"
    assert re.fullmatch("fruits-photos.*", it.title())


@pytest.mark.parametrize("webgl", [True, False])
def test_fifty_thousand_photos(opened: Open, webgl: bool) -> None:
    """``./run bench frames`` has their frames a second."""
    pictures = points(200).thumbnails + [b""] * 49_800  # all would take half a minute to encode
    it = opened(summary(), points(50_000, thumbnails=pictures), webgl=webgl)
    x, y = middle(it)
    it.mouse.move(x, y)
    before = it.locator(".map").screenshot()
    it.mouse.down()
    it.mouse.move(x + 100, y + 60, steps=4)
    it.mouse.up()
    expect_change(it, before)
    it.fill("#search", "49999.jpg")
    expect(found(it)).to_have_text("1 of 50,000 photos")
    it.press("#search", "Enter")
    it.wait_for_selector(".neighbours")
