"""The chat page in a real browser."""

import re
import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from athanor.serve.config import Serve
from athanor.serve.page import content_security_policy, page

# what the model in conftest.py has learned by heart
QUESTION, ANSWER = "What does len do?", "len(s) returns the number of items of a container: naïve, but 𝄞."
MARKUP_QUESTION, MARKUP = "Show markup.", "<script>document.title='owned'</script> & <b>bold</b>"
FOLLOW_UP, FOLLOW_UP_ANSWER = "And of a dict?", "The number of its keys."
COUNT_QUESTION = "Count."
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


expect.set_options(timeout=20_000)  # a busy machine may take its time


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser found ({', '.join(BROWSERS)}); install chromium to test the chat page")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser) -> Iterator[Page]:
    """A tab that fails the test when the page logs an error."""
    context = browser.new_context()
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield tab
    context.close()
    expected = [error for error in errors if "status of 4" in error]
    assert errors == expected


def ask(tab: Page, question: str) -> None:
    tab.get_by_label("Your message").fill(question)
    tab.get_by_role("button", name="Send").click()


def answers(tab: Page):
    return tab.locator(".assistant .text")


def be_certain(tab: Page) -> None:
    """Temperature 0, so that the model says what it has learned."""
    tab.get_by_role("button", name="Settings").click()
    tab.get_by_label("Temperature").fill("0")


def test_a_question_is_typed_and_an_answer_appears(address, tab):
    tab.goto(address)
    expect(tab.get_by_text("What would you like to ask?")).to_be_visible()
    be_certain(tab)
    ask(tab, QUESTION)
    expect(answers(tab)).to_have_text(ANSWER)
    tab.get_by_label("Your message").fill(FOLLOW_UP)
    tab.get_by_label("Your message").press("Enter")
    expect(answers(tab).nth(1)).to_have_text(FOLLOW_UP_ANSWER)
    expect(tab.locator(".note").first).to_contain_text(re.compile(r"\d+ tokens · \d+ per second"))


def test_markup_in_an_answer_stays_text(address, tab):
    tab.goto(address)
    be_certain(tab)
    ask(tab, MARKUP_QUESTION)
    expect(answers(tab)).to_have_text(MARKUP)
    assert tab.title() == "athanor chat"
    assert tab.locator(".turn script, .turn b").count() == 0
    ask(tab, "<img src=x onerror=\"document.title='owned'\">")
    expect(tab.locator(".user .text").nth(1)).to_have_text("<img src=x onerror=\"document.title='owned'\">")
    assert tab.title() == "athanor chat"


def test_a_growing_answer_can_be_stopped_and_the_chat_goes_on(slow, serving, tab):
    with serving(slow, Serve(name="tiny")) as address:
        tab.goto(address)
        be_certain(tab)
        ask(tab, COUNT_QUESTION)
        expect(answers(tab)).to_contain_text("2, 3")
        tab.get_by_role("button", name="Stop").click()
        expect(tab.locator(".note")).to_contain_text("stopped")
        assert not answers(tab).inner_text().endswith("39")
        tab.get_by_label("Longest answer").fill("4")
        ask(tab, "x")
        expect(tab.locator(".note").nth(1)).to_contain_text("4 tokens")


def test_settings_and_conversation_survive_a_reload_until_a_new_chat(address, tab):
    tab.goto(address)
    be_certain(tab)
    tab.get_by_label("Longest answer").fill("5")
    ask(tab, QUESTION)
    expect(tab.locator(".note")).to_contain_text("cut off at the limit")
    tab.reload()
    expect(answers(tab)).to_have_count(1)
    tab.get_by_role("button", name="Settings").click()
    expect(tab.get_by_label("Longest answer")).to_have_value("5")
    tab.get_by_role("button", name="New chat").click()
    expect(answers(tab)).to_have_count(0)
    expect(tab.get_by_text("What would you like to ask?")).to_be_visible()


def test_what_no_longer_fits_is_left_out_and_marked(address, tab):
    tab.goto(address)
    be_certain(tab)
    ask(tab, "a" * 200)
    expect(tab.get_by_role("button", name="Send")).to_be_visible()
    ask(tab, "b" * 250)
    expect(tab.locator(".notice")).to_contain_text("no longer fit")
    expect(tab.locator(".user.forgotten")).to_have_count(1)
    expect(answers(tab)).to_have_count(2)
    ask(tab, "c" * 400)  # does not fit even alone
    expect(tab.get_by_role("alert")).to_contain_text("context")
    expect(tab.get_by_label("Your message")).to_have_value("c" * 400)


def test_a_server_with_a_token_asks_for_it_on_the_page(loaded, serving, tab):
    with serving(loaded, Serve(name="tiny", token="open sesame")) as address:
        tab.goto(address)
        tab.get_by_label("Access token").fill("wrong")
        tab.get_by_label("Access token").press("Tab")
        expect(tab.get_by_role("alert").first).to_contain_text("token")
        tab.get_by_label("Access token").fill("open sesame")
        tab.get_by_label("Access token").press("Tab")
        expect(tab.locator("#model")).to_have_text("tiny")
        tab.get_by_label("Temperature").fill("0")
        ask(tab, QUESTION)
        expect(answers(tab)).to_have_text(ANSWER)


def test_a_phone_shows_everything_without_sideways_scrolling(address, tab):
    tab.set_viewport_size({"width": 390, "height": 700})
    tab.goto(address)
    be_certain(tab)
    ask(tab, "w" * 120)
    expect(tab.get_by_role("button", name="Send")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    expect(tab.get_by_label("Your message")).to_be_in_viewport()
    expect(tab.get_by_role("button", name="New chat")).to_be_in_viewport()


def test_every_control_has_a_name(address, tab):
    tab.goto(address)
    be_certain(tab)
    for control in tab.locator("button:visible, input:visible, textarea:visible").all():
        name = control.evaluate("element => element.labels?.[0]?.textContent || element.textContent")
        assert name.strip()


def test_the_page_loads_nothing_from_elsewhere_and_its_policy_forbids_it(address):
    answer = httpx.get(address)
    policy = answer.headers["content-security-policy"]
    assert policy == content_security_policy()
    assert "default-src 'none'" in policy and "unsafe" not in policy and policy.count("'sha256-") == 2
    assert not re.findall(r"(?:src|href)=(?![\"']?data:)\S+", page())
    assert "innerHTML" not in page() and not re.findall(r"\son\w+=", page())
