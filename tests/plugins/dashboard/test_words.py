"""The languages: equal keys and placeholders; durations, times and schedules in each."""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import expect

from gnomon.analysis import wording as of_explanations
from gnomon_alerts import wording as of_alerts
from gnomon_web.dashboard.assets import build

SENTENCES = {**of_alerts.TEMPLATES, **of_explanations.TEMPLATES, "hidden": ""}
"""The sentences that the server words in English, by their codes."""


async def test_every_language_has_every_key_with_the_same_placeholders(lab: Any) -> None:
    catalogues = await lab.inside(
        "Object.fromEntries(await Promise.all(Object.entries(m.CATALOGUES).map(async ([key, parts]) =>"
        " [key, Object.assign({}, ...await Promise.all(parts.map((load) => load())))])))"
    )

    assert set(catalogues) == set(await lab.inside("m.LANGUAGES"))
    english = catalogues["en"]
    for language, words in catalogues.items():
        assert set(words) == set(english), language
        for key, text in words.items():
            assert text.strip(), (language, key)
            assert set(re.findall(r"\{(\w+)", text)) == set(re.findall(r"\{(\w+)", english[key])), (language, key)


async def test_every_sentence_of_the_server_has_words_in_the_other_languages(
    lab: Any, open_page: Any, day: str
) -> None:
    languages = await lab.inside(
        "Object.fromEntries(await Promise.all(Object.entries(m.SERVER_SENTENCES).map(async ([key, parts]) =>"
        " [key, Object.assign({}, ...await Promise.all(parts.map((load) => load())))])))"
    )
    assert not of_alerts.TEMPLATES.keys() & of_explanations.TEMPLATES.keys()
    assert set(languages) == set(await lab.inside("m.LANGUAGES")) - {"en"}
    for language, sentences in languages.items():
        assert {code for code in sentences if "." not in code} == set(SENTENCES), language
        for code, text in SENTENCES.items():
            unknown = set(re.findall(r"\{(\w+)", sentences[code])) - set(re.findall(r"\{(\w+)", text))
            assert unknown <= {"reason"}, (language, code)  # of a missed fire, whose text is English

    late = {"code": "late_start", "values": {"limit_s": 300}}
    said: Any = {"code": "several", "values": {"count": 3, "what": late}}
    of_newer_version: Any = {"code": "of a newer version", "values": {}}
    chinese = await open_page(day, "/alerts", locale="zh-CN")
    shown = "arg.map((said) => m.saidInWords(said, 'in English'))"
    assert await chinese.inside(shown, [said, of_newer_version, None]) == [
        "3 次执行：超过计划时间 5分钟 仍未开始",  # noqa: RUF001 - Chinese has wide colons
        "in English",
        "in English",
    ]
    assert await lab.inside(shown, [said]) == ["in English"]
    ended = [{"code": "succeeded", "values": values} for values in ({"took_s": 5}, {})]
    assert await chinese.inside(shown, ended) == ["它在 5.0秒 后成功结束。", "它成功结束。"]


def written() -> dict[str, str]:
    """Return the code of all modules but the catalogues that are loaded when they are chosen."""
    bundle = build().bundle
    every = [*bundle.modules, *(module for chunk in bundle.chunks.values() for module in chunk)]
    return {one.path: one.code for one in every if not one.path.startswith("js/i18n/zh")}


def test_every_key_that_is_used_exists_and_every_one_that_exists_is_used() -> None:
    sources = written()
    of_first = set(re.findall(r"'([\w.]+)': '", sources.pop("js/i18n/en.js")))
    of_later = set(re.findall(r"'([\w.]+)': '", sources.pop("js/i18n/en_pages.js")))
    assert of_first & of_later == set()
    catalogue = of_first | of_later
    code = "\n".join(sources.values())
    used = set(re.findall(r"\bt\(\s*'([\w.]+)'", code))
    assert used <= catalogue
    # The others are composed of a prefix and a word, or chosen between two.
    prefixes = {
        *re.findall(r"\bt\([^'\n]{0,40}?`([\w.]+\.)\$", code),
        *(f"{one}." for one in re.findall(r"\bword\('(\w+)'", code)),
    }
    mentioned = set(re.findall(r"'([\w.]+)'", code))
    assert {key for key in catalogue - used - mentioned if not key.startswith(tuple(prefixes))} == set()


def test_no_visible_text_is_hard_coded() -> None:
    visible = re.compile(
        r"""h\('(?:p|h[1-6]|button|span|strong|small|label|th|dt|li)', (?:null|\{[^{}]*\}), '([^']+)'"""
    )
    for path, code in written().items():
        if not path.startswith("js/i18n/"):
            found = [text for text in visible.findall(code) if re.search("[a-z]", text) and text != "Gnomon"]
            assert found == [], path


async def test_durations_have_their_two_largest_units(lab: Any, open_page: Any, day: str) -> None:
    seconds = [None, 0, 0.004, 0.9996, 5.44, 59.6, 62, 3600, 3725, 90_000]
    found = await lab.inside("arg.map(m.duration)", seconds)
    assert found == ["–", "0ms", "4ms", "1.0s", "5.4s", "1m", "1m 2s", "1h", "1h 2m", "1d 1h"]
    assert await lab.inside("m.wholeDuration(754, true)") == "12m"

    chinese = await open_page(day, "/alerts", locale="zh-CN")
    assert await chinese.inside("[62, 3725].map(m.duration)") == ["1分钟2秒", "1小时2分钟"]


async def test_times_of_today_have_no_date_and_others_have_one(lab: Any) -> None:
    found = await lab.inside("['2026-11-25T12:00:00Z', '2026-11-20T12:00:00Z'].map(m.shortMoment)")
    assert found == ["20:00:00", "Nov 20, 20:00"]
    assert "GMT+8" in await lab.inside("m.fullMoment('2026-11-25T12:00:00Z')")
    ago = await lab.inside("[-10, -3600, 90.4].map((s) => m.relative(arg + s * 1000))", 1_795_609_750_000)
    assert len(ago) == 3
    assert await lab.inside("[m.percent(0.5), m.percent(0.999), m.weekday(0), m.dayMonth(0)]") == [
        "50%",
        "99.9%",
        "Mon",
        "Jan 1",
    ]


async def test_simple_schedules_are_described_in_chinese_and_others_are_left_as_written(
    open_page: Any, day: str
) -> None:
    window = await open_page(day, "/alerts", locale="zh-CN")
    jobs = [
        ({"cron": "*/5 * * * *"}, "每 5 分钟"),
        ({"cron": "* * * * *"}, "每 1 分钟"),
        ({"cron": "7 * * * *"}, "每小时第 7 分"),
        ({"cron": "5 9 * * *"}, "每天 09:05"),
        ({"cron": "0 18 * * 1-5"}, "周一至周五 18:00"),
        ({"cron": "30 3 1 * *"}, "每月 1 日 03:30"),
        ({"cron": "0 18 * * 1,3"}, "cron: 0 18 * * 1,3"),
        ({"cron": "0 18 1 1 *"}, "cron: 0 18 1 1 *"),
        ({"cron": "0 */2 * * *"}, "每 2 小时的第 0 分"),
        ({"every": "1h 30m"}, "每 1小时30分钟"),
        ({"every": 90}, "每 1分钟30秒"),
        ({}, "仅手动触发"),
        ({"trigger": {"type": "object"}}, "described by the server"),
    ]
    found = await window.inside(
        "arg.map((c) => m.scheduleInWords({ trigger: 'described by the server', trigger_config: c }))",
        [config for config, _ in jobs],
    )
    assert found == [words for _, words in jobs]


async def test_plurals_follow_their_number_and_unknown_words_are_left_as_they_are(lab: Any) -> None:
    found = await lab.inside(
        "[m.t('coming.paused', {n: 1}), m.t('coming.paused', {n: 3}), m.word('reason', 'timeout'), m.word('reason', 'gravity')]",
    )
    assert found == ["1 job paused", "3 jobs paused", "exceeded its timeout", "gravity"]


async def test_a_language_that_cannot_be_loaded_leaves_the_previous_one(open_page: Any, day: str) -> None:
    window = await open_page(day, "/alerts", allowed=("ERR_FAILED",))
    page = window.page
    await page.route("**/zh.js", lambda route: route.abort())

    await page.get_by_label("Language").select_option("zh-CN")

    await expect(page.locator(".toasts")).to_contain_text("Loading failed")
    await expect(page.get_by_label("Language")).to_have_value("en")
    await expect(page.locator("h1")).to_have_text("Alerts")


async def test_toasts_disappear_by_themselves(open_page: Any, day: str) -> None:
    window = await open_page(day, "/alerts")
    await window.page.clock.install()
    await window.inside("['a', 'b', 'c', 'd', 'e'].forEach((text) => m.toast(text))")
    await expect(window.page.locator(".toasts p")).to_have_text(["b", "c", "d", "e"])
    await window.page.clock.run_for(7000)
    await expect(window.page.locator(".toasts p")).to_have_count(0)
