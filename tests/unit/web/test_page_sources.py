"""The page's sources: every word has its Chinese, colours have contrast, packages are pinned."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cloud.alerting.storm import STORM_RULE
from cloud.engine import FAILED_RULE
from openvrc.contracts.plugins import discover
from openvrc.detectors.battery import sampling
from tests.support.battery_frames import fold, frames

WEB = Path(__file__).parents[3] / "web"
DETECTORS = WEB.parent / "openvrc" / "detectors"
STYLE = (WEB / "src" / "styles" / "page.css").read_text(encoding="utf-8")
LEAST_CONTRAST = 4.5
"""WCAG 2.1, 1.4.3, level AA, for text of ordinary size."""
INKS = ("text", "soft", "accent", "info", "warning", "serious", "critical", "good")
GROUNDS = ("ground", "panel", "raised", "sunk")


def words_used() -> set[str]:
    sources = [p.read_text(encoding="utf-8") for p in sorted((WEB / "src").rglob("*.ts"))]
    return {word for text in sources for word in re.findall(r'\bt\("((?:[^"\\]|\\.)+)"', text)}


def translated() -> set[str]:
    known = (WEB / "src" / "lib" / "zh.ts").read_text(encoding="utf-8")
    return set(re.findall(r'"([^"]+)": "', known)) | set(re.findall(r"\b(\w+): \"", known))


def test_every_word_of_the_page_has_its_chinese() -> None:
    assert len(words_used()) > 100
    assert words_used() <= translated()


def test_every_rules_title_has_its_chinese() -> None:
    """The page shows titles as the alerts bring them, so no source of it names them."""
    titles = {one.rule.title for one in discover("openvrc.detectors").values()}
    assert len(titles) > 30
    assert titles | {FAILED_RULE.title, STORM_RULE.title} <= translated()


def test_every_rules_advice_has_its_chinese() -> None:
    rules = [one.rule for one in discover("openvrc.detectors").values()]
    assert {rule.advice for rule in [*rules, FAILED_RULE, STORM_RULE]} <= translated()


def test_what_every_rule_says_has_a_chinese_sentence_of_its_own_values() -> None:
    source = (WEB / "src" / "alerts" / "texts_zh.ts").read_text(encoding="utf-8")
    told = dict(re.findall(r'^  "([a-z0-9_.]+)": \{(.*?)\},$', source, re.MULTILINE | re.DOTALL))
    plugins = discover("openvrc.detectors")
    assert set(told) == {*plugins, FAILED_RULE.name, STORM_RULE.name}
    for name, sentences in told.items():
        used = set(re.findall(r"\{(\w+)(?:\*-?[\d.]+)?(?::\d)?\}", sentences))
        if name not in plugins:
            continue
        package = Path(inspect.getfile(type(plugins[name]))).parent
        texts = [path.read_text(encoding="utf-8") for path in package.glob("*.py")]
        given = set(re.findall(r'"(\w+)"', " ".join(texts))) | {"part", "component"}
        assert used <= given, (name, used - given)


def label(name: str, units: set[str]) -> str:
    """What `fieldName` of the page translates: the words before the unit."""
    found = re.fullmatch(r"(.+)_(\w+)_per_(\w+)", name)
    if found and {found[2], found[3]} <= units:
        return found[1].replace("_", " ")
    words = name.split("_")
    return " ".join(words[:-1] if len(words) > 1 and words[-1] in units else words)


def test_what_every_rules_evidence_is_called_has_its_chinese() -> None:
    """As far as it is written as one dictionary with its `text` or its limit."""
    source = (WEB / "src" / "lib" / "format.ts").read_text(encoding="utf-8")
    listed = re.search(r"const UNITS[^{]*\{(.*?)\}", source, re.DOTALL)
    assert listed is not None
    units = set(re.findall(r'(\w+): "', listed[1]))
    assert label("fall_v_per_h", units) == "fall"
    names: set[str] = set()
    for package in ("battery", "data", "security", "traffic"):
        for path in (DETECTORS / package).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                given = node.keys if isinstance(node, ast.Dict) else []
                keys = {str(key.value) for key in given if isinstance(key, ast.Constant)}
                if keys & {"text", "limit_v"}:
                    names |= keys - {"text"}
    assert {"fall_v_per_h", "decel_mps2", "n_dips_week"} <= names
    assert {label(name, units) for name in names} <= translated()


def test_a_frozen_cell_is_said_in_chinese_as_one_and_not_as_a_cut_wire() -> None:
    """Both are `battery.sampling`: the first sentence counts whose values are all there."""
    source = (WEB / "src" / "alerts" / "texts_zh.ts").read_text(encoding="utf-8")
    found = re.search(r'"battery\.sampling": \{\s*is: \[(.*?)\],\n', source, re.DOTALL)
    assert found is not None
    sentences = re.findall(r'"([^"]+)"', found[1])
    times_s = np.arange(0.0, 300.0, 10.0)
    cells_v = np.tile(3.7 + 0.06 * (times_s[:, None] % 80 < 40), 16)
    cells_v[:, 9] = 3.65
    frozen = fold(sampling.PLUGIN, frames(times_s, cell_voltages_v=cells_v))[0]
    assert frozen.evidence["kind"] == "frozen"
    given = {*frozen.evidence, "part"}
    said = next(s for s in sentences if set(re.findall(r"\{(\w+)", s)) <= given)
    assert {"pack_moved_v", "frames", "cell_v"} <= set(re.findall(r"\{(\w+)", said))


def theme(name: str) -> dict[str, str]:
    dark, light = re.findall(r":root[^{]*\{([^}]*)\}", STYLE)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", dark))
    return colours | (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", light)) if name == "light" else {}
    )


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_text_stands_out_from_every_ground(name: str) -> None:
    colours = theme(name)
    pairs = [(ink, ground) for ink in INKS for ground in GROUNDS]
    pairs += [("on-accent", "accent"), ("badge-text", "badge"), ("text", "button")]
    weak = {
        (ink, ground): round(contrast(colours[ink], colours[ground]), 2)
        for ink, ground in pairs
        if contrast(colours[ink], colours[ground]) < LEAST_CONTRAST
    }
    assert weak == {}


def mixed(tone: str, share: float, ground: str) -> str:
    """CSS's `color-mix(in srgb, tone share, ground)`."""
    parts = [
        share * int(tone[i : i + 2], 16) + (1 - share) * int(ground[i : i + 2], 16)
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{round(part):02x}" for part in parts)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_an_alert_that_nobody_acts_on_can_be_read_while_it_pulses(name: str) -> None:
    colours = theme(name)
    found = re.search(r"@keyframes overdue.*?var\(--tone\) (\d+)%, var\(--raised\)", STYLE)
    assert found is not None
    for severity in ("warning", "serious", "critical"):
        ground = mixed(colours[severity], int(found[1]) / 100, colours["raised"])
        for ink in (severity, "text", "soft"):
            assert contrast(colours[ink], ground) >= LEAST_CONTRAST, (severity, ink)


def test_packages_are_pinned_and_the_lock_names_no_registry() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    wanted = package["dependencies"] | package["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    packages = json.loads(lock)["packages"]
    assert all(facts.get("integrity") for path, facts in packages.items() if path)


def test_nothing_in_the_sources_asks_another_machine() -> None:
    files = [*(WEB / "src").rglob("*.ts"), *(WEB / "src").rglob("*.css"), *WEB.glob("*.html")]
    found = {
        (path.name, url)
        for path in files
        for url in re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))
    }
    assert found <= {("icons.ts", "http://www.w3.org/2000/svg")}
