"""The page in a real browser: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live import Live
from scripted_server import FLAT, Scripted

from factories import pooled_model, tiny_tokenizer
from rxt.model.pool import Pool
from scripted_chat import CALL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install it (Debian: apt install chromium)"),
    pytest.mark.skipif(
        find_spec("playwright") is None, reason="playwright is missing: pip install 'reactive-transformers[dev]'"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def after_page() -> Iterator[ExitStack]:
    """What a test puts here ends after the page, which asks its server for more when a turn is over."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def page(browser: Browser, serve: Callable[..., Live], after_page: ExitStack) -> Iterator[Page]:
    """It fails the test for any error in the console and any request to another place. Servers outlive it."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: wrong.append(message.text) if message.type == "error" and "401" not in message.text else None,
    )
    page.on(
        "request",
        lambda request: (
            None if "127.0.0.1" in request.url or request.url.startswith("data:") else wrong.append(request.url)
        ),
    )
    yield page
    context.close()
    assert wrong == []


def tell(page: Page, text: str, count: int) -> str:
    """Say something; the answer, when it has been remembered."""
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.locator(".fork").nth(count - 1).wait_for()
    page.locator(".sign").wait_for(state="detached")
    return page.locator(".assistant").nth(count - 1).inner_text()


def wait_for_count(page: Page, selector: str, count: int) -> None:
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_count(count, timeout=60_000)


def test_a_conversation_by_keyboard_alone(page: Page, live: Live) -> None:
    page.goto(live.url)
    page.locator(".hint").wait_for()
    tell(page, "My dog is called Rex.", 1)
    assert "Rex" in tell(page, "What is my dog called?", 2)
    assert page.locator("#list .open").all_inner_texts() == ["My dog is called Rex."]
    page.locator(".layer").first.wait_for()
    assert page.locator(".layer").count() == 3
    assert page.locator(".layer i").count() == 3 * 64
    assert page.locator("#writing").inner_text() == "2 turns"
    page.reload()
    page.locator(".assistant").nth(1).wait_for()
    assert page.locator(".said").count() == 4, "the page comes back to the conversation"
    page.locator(".layer").first.wait_for()
    page.keyboard.press("Alt+n")
    page.locator(".hint").wait_for()
    assert "Rex" not in tell(page, "What is my dog called?", 1)
    page.keyboard.press("Alt+ArrowDown")
    page.locator(".assistant").nth(1).wait_for()
    assert page.locator(".said").first.inner_text() == "My dog is called Rex."


def test_which_fragments_a_turn_looked_up_and_wrote(page: Page, tmp_path: Path, after_page: ExitStack) -> None:
    live = Live(pooled_model(max_length=64), tiny_tokenizer(), tmp_path / "db")
    after_page.callback(live.stop)
    page.goto(live.url)
    page.locator(".hint").wait_for()
    for count, query in enumerate(("hello there", "my name is Ann", "how are you"), start=1):
        tell(page, query, count)
    wait_for_count(page, "#fragments i", 3)
    told = page.locator("#fragments .small").inner_text()
    assert re.fullmatch(r"Fragments: 3 · looked up [12], [12] · written [12], 3 · new 3", told)
    assert page.locator("#fragments i.seen").count() == 2
    assert page.locator("#picture .layer i[title*='fragment 3:']").count() == 2 * 2, "slots of every layer"
    assert "however many fragments" in page.locator("#size").inner_text()


def test_conversations_of_a_user_share_what_they_are_told(page: Page, tmp_path: Path, after_page: ExitStack) -> None:
    from playwright.sync_api import expect

    live = Live(pooled_model(max_length=64), tiny_tokenizer(), tmp_path / "db")
    after_page.callback(live.stop)
    much = page.locator("#much")
    page.goto(live.url)
    page.locator(".hint").wait_for()
    page.locator("#user").fill("ann")
    page.keyboard.press("Enter")
    expect(much).to_have_text("All new conversations of ann will share what they are told.")
    for turns in (1, 2):
        page.keyboard.press("Alt+n")
        page.locator(".hint").wait_for()
        tell(page, "my name is Ann", 1)
        expect(much).to_contain_text("1 turn in" if turns == 1 else "2 turns in")
    with page.expect_download() as saved:
        page.locator("#save").click()
    saved.value.save_as(tmp_path / saved.value.suggested_filename)
    assert Pool.load(tmp_path / "ann.memory").turns == 2
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#forget").click()
    expect(much).to_contain_text("will share")
    wait_for_count(page, "#list .open", 0)
    page.locator("#file").set_input_files(tmp_path / "ann.memory")
    expect(much).to_contain_text("2 turns in")
    page.locator("#user").fill("")
    page.keyboard.press("Enter")
    tell(page, "my name is Ann", 1)
    assert live.http.get("/v1/users/ann/memory").json()["turns"] == 2, "nobody's conversation is told to nobody"


def test_a_fork_from_an_earlier_message(page: Page, live: Live) -> None:
    page.goto(live.url)
    page.locator(".hint").wait_for()
    tell(page, "My dog is called Rex.", 1)
    tell(page, "My name is Anna.", 2)
    page.locator(".fork").first.click()
    wait_for_count(page, ".said", 2)
    assert "Rex" in tell(page, "What is my dog called?", 2)
    wait_for_count(page, "#list .open", 2)
    page.locator("#list .drop").first.click()
    wait_for_count(page, "#list .open", 1)


def test_text_is_never_code(page: Page, live: Live) -> None:
    page.goto(live.url)
    page.locator(".hint").wait_for()
    tell(page, "<img src=x onerror=alert(1)>", 1)
    assert page.locator(".user").inner_text() == "<img src=x onerror=alert(1)>"
    assert page.locator("#talk img, #list img").count() == 0


def test_dark_and_light(page: Page, live: Live) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(live.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.locator("#theme").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == light


def test_thoughts_are_folded_and_calls_are_cards(page: Page, after_page: ExitStack) -> None:
    scripted = Scripted(":memory:")
    after_page.callback(scripted.live.stop)
    conversation = scripted.post("/v1/conversations")["id"]
    scripted.says(f"<think>so<answer>hello<tool_call>{CALL}<eos>", "<answer>Ann<eos>")
    asked = {"tools": [FLAT], "reasoning": {"effort": "low"}, "conversation": conversation}
    call = scripted.post("/v1/responses", input="my name", **asked)["output"][-1]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "8"}
    scripted.post("/v1/responses", input=[result], **asked)
    page.goto(f"{scripted.live.url}/#{conversation}")
    wait_for_count(page, ".fork", 2)
    assert page.locator(".card").all_inner_texts() == ['add\n{"a": 7}\n→ 8']
    assert page.locator(".assistant").all_inner_texts() == ["hello", "Ann"]
    assert not page.locator(".thought div").is_visible()
    page.locator(".thought summary").click()
    assert page.locator(".thought div").inner_text() == "so"
    scripted.says("<think>I am Ann<answer>hello there<eos>")
    page.locator("#query").focus()
    assert tell(page, "how are you", 3) == "hello there"
    assert page.locator(".thought div").nth(1).text_content() == "I am Ann"
    assert page.locator(".said, .thought, .card").last.inner_text() == "hello there"


def test_a_key_is_asked_for(page: Page, serve: Callable[..., Live]) -> None:
    live = serve(keys=("secret",))
    page.goto(live.url)
    page.locator("#key").fill("secret")
    page.keyboard.press("Enter")
    page.locator(".hint").wait_for()
    page.locator("#query").focus()
    assert tell(page, "Hello!", 1)
    assert live.http.get("/v1/conversations").status_code == 401


def test_what_is_wrong_is_shown(page: Page, live: Live) -> None:
    live.sessions.draining = True
    page.goto(live.url)
    page.locator(".hint").wait_for()
    live.sessions.draining = False
    page.keyboard.type("word " * 200)
    page.route(
        "**/v1/responses",
        lambda route: route.fulfill(
            status=200, body='data: {"type": "response.failed", "response": {"error": {"message": "too much"}}}\n\n'
        ),
    )
    page.keyboard.press("Enter")
    page.locator(".wrong").wait_for()
    assert page.locator(".wrong").inner_text() == "too much"
    assert page.locator("#send").is_enabled()
