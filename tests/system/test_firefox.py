"""Both pages in Firefox: the tests of Chromium once more, all that are about what a person sees."""

import unittest

from tests.system import (
    test_controls_page,
    test_monitor_looks,
    test_monitor_map,
    test_monitor_moment,
    test_monitor_page,
    test_webui,
    test_webui_looks,
    test_webui_reach,
    test_webui_truth,
    test_webui_way,
)
from tests.tools.firefox import Firefox
from tests.tools.fleet import SLOW
from tests.tools.page import PageTestCase


def setUpModule() -> None:
    if not SLOW:
        raise unittest.SkipTest("BARKER_SLOW=1: all that was shown in Chromium, once more")
    PageTestCase.start_for_module(Firefox)


class ReadingTest(test_webui.ReadingTest):
    pass


class BarkingTest(test_webui.BarkingTest):
    pass


class FailureTest(test_webui.FailureTest):
    pass


class TrustTest(test_webui.TrustTest):
    pass


class LooksTest(test_webui_looks.LooksTest):
    pass


class StillTest(test_webui_reach.StillTest):
    pass


class KeyboardTest(test_webui_reach.KeyboardTest):
    pass


class EarTest(test_webui_reach.EarTest):
    pass


class EyeTest(test_webui_reach.EyeTest):
    pass


class OutageTest(test_webui_truth.OutageTest):
    pass


class KeptTest(test_webui_truth.KeptTest):
    pass


class PeopleTest(test_webui_truth.PeopleTest):
    pass


class WayTest(test_webui_way.WayTest):
    pass


class KeepersTest(test_webui_way.KeepersTest):
    pass


class FilterTest(test_webui_way.FilterTest):
    pass


class LoadTest(test_webui_looks.LoadTest):
    pass


class WalkThroughTest(test_monitor_page.WalkThroughTest):
    kind = Firefox


class SimulatedTest(test_monitor_page.SimulatedTest):
    kind = Firefox


class MonitorLooksTest(test_monitor_looks.LooksTest):
    kind = Firefox


class MonitorScreenTest(test_monitor_map.OneScreenTest):
    kind = Firefox


class MonitorCardTest(test_monitor_map.CardTest):
    kind = Firefox


class MonitorDelayTest(test_monitor_map.DelayTest):
    kind = Firefox


class MonitorTraceTest(test_monitor_map.TraceTest):
    kind = Firefox


class MonitorMomentTest(test_monitor_moment.MomentTest):
    kind = Firefox


class MonitorLinkTest(test_monitor_moment.LinkTest):
    kind = Firefox


class CardsTest(test_controls_page.CardsTest):
    kind = Firefox


class CourseTest(test_controls_page.CourseTest):
    kind = Firefox
