"""What a person sees in a real browser: the landing page, reports, runbook and API docs, with no internet at all."""

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from exporter_process import ROOT, Exporter, demo_events, running_exporter, show_damage
from programs import program, until
from visiondrift.demo.digits import CAMERAS

pytestmark = pytest.mark.browser

DAMAGED = "right"
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    with running_exporter(tmp_path_factory.mktemp("exporter")) as running:
        show_damage(running, DAMAGED)
        until(lambda: "report" in running.get("/reports/").text and ".html" in running.get("/reports/").text)
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium = program("chromium", "chromium-browser", package="chromium")
    driver = program("chromedriver", package="chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*_OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1300,900"):
        options.add_argument(argument)
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    yield started
    started.quit()


def rows_of(browser: webdriver.Chrome) -> dict[str, str]:
    """Slice, as the page calls it -> its verdict."""
    rows = browser.find_elements(By.CSS_SELECTOR, "#digits-demo tbody tr")
    return {
        row.find_element(By.TAG_NAME, "th").text.splitlines()[0]: row.find_element(By.CSS_SELECTOR, ".pill").text
        for row in rows
    }


def shown_now(exporter: Exporter, browser: webdriver.Chrome) -> dict[str, str]:
    """The rows of the page of events that have just come in: those of the fixture leave the window after a minute."""
    now = time.time()
    for camera in CAMERAS:
        exporter.post(demo_events(camera, 150, now=now, damaged=camera == DAMAGED, seed=int(now)))

    def rows() -> dict[str, str]:
        browser.get(exporter.url)
        found = rows_of(browser)
        return found if found.get(f"camera {DAMAGED}") == "critical" and "insufficient" not in found.values() else {}

    return until(rows, what="every camera on the page")


def requests_of(browser: webdriver.Chrome) -> list[str]:
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    return [name for name in browser.execute_script(script) if not name.startswith(("data:", "blob:"))]


def test_the_landing_page_shows_each_camera_with_its_own_verdict(exporter: Exporter, browser: webdriver.Chrome):
    shown = shown_now(exporter, browser)
    assert {slice_: shown[slice_] for slice_ in shown if slice_ != "all together"} == {
        f"camera {camera}": "critical" if camera == DAMAGED else "ok" for camera in CAMERAS
    }


def test_a_signal_shows_its_score_its_threshold_and_its_meaning(exporter: Exporter, browser: webdriver.Chrome):
    shown_now(exporter, browser)
    row = browser.find_element(By.XPATH, f"//tr[th[starts-with(normalize-space(), 'camera {DAMAGED}')]]")
    cell = row.find_elements(By.TAG_NAME, "td")[3]  # after the verdict and both kinds of evidence
    assert re.fullmatch(r"\d+\.\d %\s+≥ \d+\.\d %", cell.text.strip()), cell.text
    assert "share of CLIP columns" in cell.get_attribute("title")


def test_sparklines_are_drawn_after_two_evaluations(exporter: Exporter, browser: webdriver.Chrome):
    def drawn() -> int:
        browser.get(exporter.url)
        return len(browser.find_elements(By.CSS_SELECTOR, "svg.spark polyline"))

    assert until(drawn, what="a sparkline") > 0


def test_the_report_behind_the_verdict_opens_and_draws_evidently_s_page(exporter: Exporter, browser: webdriver.Chrome):
    def link() -> list[WebElement]:
        browser.get(exporter.url)
        row = browser.find_element(By.XPATH, f"//tr[th[starts-with(normalize-space(), 'camera {DAMAGED}')]]")
        return row.find_elements(By.LINK_TEXT, "report")

    # Reports are written in turns, after the verdict.
    until(link, what="the camera's report")[0].click()
    until(lambda: "Drift is detected" in browser.find_element(By.TAG_NAME, "body").text)
    body = browser.find_element(By.TAG_NAME, "body").text
    assert f"camera={DAMAGED}" in body or f"camera {DAMAGED}" in body
    assert "top confidence" in body
    assert requests_of(browser) == []


def test_the_list_of_reports_leads_to_each_of_them(exporter: Exporter, browser: webdriver.Chrome):
    browser.get(f"{exporter.url}/reports/")
    hrefs = [link.get_attribute("href") for link in browser.find_elements(By.LINK_TEXT, "JSON")]
    assert hrefs
    for href in hrefs:
        assert exporter.get(href.removeprefix(exporter.url)).json()["model"] == "digits-demo"


def test_every_alert_s_runbook_link_leads_to_its_section(exporter: Exporter, browser: webdriver.Chrome):
    rules = "".join(file.read_text() for file in (ROOT / "prometheus" / "rules").glob("*.yml"))
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    browser.get(f"{exporter.url}/runbook")
    anchors = {heading.get_attribute("id") for heading in browser.find_elements(By.CSS_SELECTOR, "h2[id]")}
    assert alerts
    assert {alert.lower() for alert in alerts} <= anchors


def test_the_api_docs_work_without_internet(exporter: Exporter, browser: webdriver.Chrome):
    browser.get(f"{exporter.url}/docs")
    until(lambda: "/v1/predictions" in browser.find_element(By.TAG_NAME, "body").text)
    assert [name for name in requests_of(browser) if not name.startswith(exporter.url)] == []


@pytest.mark.parametrize("path", ["/", "/reports/", "/runbook"])
def test_a_page_asks_nothing_of_another_host_and_runs_no_script(
    exporter: Exporter, browser: webdriver.Chrome, path: str
):
    browser.get(exporter.url + path)
    assert requests_of(browser) == []
    assert browser.find_elements(By.TAG_NAME, "script") == []


@pytest.mark.parametrize("path", ["/", "/reports/", "/runbook"])
def test_a_page_fits_a_phone(exporter: Exporter, browser: webdriver.Chrome, path: str):
    browser.set_window_size(500, 900)  # headless Chromium goes no narrower
    try:
        browser.get(exporter.url + path)
        width = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        assert width <= 0
    finally:
        browser.set_window_size(1300, 900)


def test_a_missing_report_is_told_in_words(exporter: Exporter, browser: webdriver.Chrome):
    browser.get(f"{exporter.url}/reports/latest?model=digits-demo&slice=camera%3D%3Cscript%3Ealert(1)")
    assert "There is no report" in browser.find_element(By.TAG_NAME, "main").text
    assert browser.find_elements(By.TAG_NAME, "script") == []


def test_a_rejected_configuration_is_announced_on_the_page(exporter: Exporter, browser: webdriver.Chrome):
    file: Path = exporter.config / "thresholds.yml"
    good = file.read_text()
    file.write_text(good.replace("accuracy_drop: {warning: 0.05", "accuracy_drop: {warning: 3"))
    try:

        def banner() -> str:
            browser.get(exporter.url)
            found = browser.find_elements(By.CSS_SELECTOR, ".banner")
            return found[0].text if found else ""

        text = until(banner, what="the banner")
        assert "thresholds.yml:" in text
        assert "accuracy_drop" in text
        assert shown_now(exporter, browser)
    finally:
        file.write_text(good)
    until(lambda: "banner" not in re.sub(r"<style>.*?</style>", "", exporter.get("/").text, flags=re.DOTALL))


SEND_A_FORM = """
const form = new FormData(), done = arguments[1];
form.append("events", new Blob([JSON.stringify({events: [{id: "csrf", time: Date.now() / 1000, model: "digits-demo",
    version: "1", confidences: {"3": 0.9}}]})], {type: "application/json"}));
fetch(arguments[0], {method: "POST", mode: "no-cors", body: form}).then(answer => done(answer.status), () => done(-1));
"""
"""The only request with a body in the right form that a page may send anywhere without asking first."""


class ForeignPage(BaseHTTPRequestHandler):
    """Any page that somebody has open beside the exporter."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Cats</title>")

    def log_message(self, *_: object) -> None:
        pass


def received(exporter: Exporter) -> str:
    lines = exporter.get("/metrics").text.splitlines()
    return next(line for line in lines if line.startswith('visiondrift_events_received_total{model="digits-demo"}'))


def test_another_page_in_the_same_browser_cannot_send_events(exporter: Exporter, browser: webdriver.Chrome):
    before = received(exporter)
    with ThreadingHTTPServer(("127.0.0.1", 0), ForeignPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.get(f"http://127.0.0.1:{server.server_port}/")
        browser.execute_async_script(SEND_A_FORM, f"{exporter.url}/v1/images")
        server.shutdown()
    assert received(exporter) == before


def test_the_exporter_s_own_page_can_send_events(exporter: Exporter, browser: webdriver.Chrome):
    browser.get(f"{exporter.url}/docs")
    assert browser.execute_async_script(SEND_A_FORM, f"{exporter.url}/v1/images") == 200
