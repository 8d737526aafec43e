"""Frames: does a page stay smooth while many barks come? In Chromium, if there is one."""

import contextlib
import math
import unittest

from tests.bench.figures import Figure, Section, at_most, ratios
from tests.bench.load import Scale, percentile
from tests.system.test_webui_looks import MEASURE
from tests.tools.chromium import Chromium
from tests.tools.page import MAX_SHOWN, PageTestCase

# Two of three dogs bark for rdl, whose page it is: it is shown some 240 a second.
BARKS_A_SECOND = 280


def frames(scale: Scale) -> Section:
    """The slowest frame of a hundred, while barks come and while none does."""
    busy, quiet = [], []
    for _ in range(scale.fewer):
        try:
            slow, usual = _frames_ms(scale.frames_s)
        except unittest.SkipTest:  # no Chromium
            slow = usual = math.nan
        busy.append(slow)
        quiet.append(usual)
    return Section(
        "The page, 240 barks a second",
        "to the frames of a page that gets none",
        [Figure("p99 of frames, ms", busy, ratios(busy, quiet), at_most(3.0))],
    )


def _frames_ms(seconds: float) -> tuple[float, float]:
    with contextlib.ExitStack() as stack:
        page = PageTestCase()
        page.start(stack, Chromium)
        page.browser.screen(1280, 900)
        page.open_connected(user="rdl")

        def measured() -> float:
            page.browser.execute(MEASURE, seconds * 1000)
            found = page.browser.wait_until("window.measured", "frames", 2 * seconds + 20)
            return percentile(sorted(found["frames"]), 0.99)

        usual = measured()
        autobark = page.fleet.run("autobark", str(BARKS_A_SECOND), "--seed", "1")
        stack.callback(autobark.close)
        full = f"Barker.stream.list.childElementCount >= {MAX_SHOWN}"
        page.browser.wait_until(full, "a full list")
        return measured(), usual
