"""Alice sets up her second factor, signs out, and signs in with it; and once with a recovery code."""

from __future__ import annotations

import re
import time
from base64 import b32decode
from typing import Any

import pytest
from django_otp.oath import TOTP
from playwright.sync_api import Page, expect

from tenants.models import SecondFactor, Tenant, User
from tests.browser import axe
from tests.browser.conftest import Shoot

PASSWORD = "correct horse battery"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(live_server: Any) -> str:
    User.objects.create_superuser("alice", password=PASSWORD)
    Tenant.objects.create(slug="acme", name="Acme")
    return str(live_server.url)


def give_password(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/tenants/tenant/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def set_up(page: Page) -> bytes:
    """Returns the secret, as the app has it."""
    secret = b32decode(page.locator("#secret").inner_text().replace(" ", ""))
    page.get_by_role("textbox", name="Code").fill(app(secret))
    page.get_by_role("button", name="Set up").click()
    return secret


def app(secret: bytes, ahead: int = 0) -> str:
    """What the phone shows, or will show next: a code is good once, and a test does not wait for the next."""
    totp = TOTP(secret)
    totp.time = time.time() + 30 * ahead
    return f"{totp.token():06}"


def test_from_setting_it_up_to_signing_in_with_it(page: Page, site: str, shoot: Shoot) -> None:
    give_password(page, site)
    page.get_by_role("link", name="Second factor").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    shoot("second-factor-enrol")
    secret = set_up(page)
    shown = page.locator("#codes").inner_text().split()
    assert len(shown) == 10
    shoot("second-factor-codes")
    page.get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()").split() == shown
    page.reload()
    expect(page.get_by_text("10 left")).to_be_visible()
    assert shown[0] not in page.content()
    shoot("second-factor-own")

    page.get_by_role("button", name="Sign out").click()
    give_password(page, site)
    expect(page.get_by_role("textbox", name="Code")).to_be_focused()
    assert "Acme" not in page.content()
    shoot("second-factor-code")
    page.get_by_role("textbox", name="Code").fill("000000")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("That is not it")).to_be_visible()
    shoot("second-factor-code-wrong")
    page.wait_for_timeout(1100)  # after a wrong one, none is looked at for a second
    page.get_by_role("textbox", name="Code").fill(app(secret, ahead=1))
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site}/admin/tenants/tenant/")
    expect(page.get_by_role("link", name="Acme").first).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    give_password(page, site)
    page.get_by_role("textbox", name="Code").fill(shown[0])
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("That recovery code is used up: 9 left.")).to_be_visible()


def test_it_is_renewed_and_removed(page: Page, site: str, shoot: Shoot) -> None:
    give_password(page, site)
    page.goto(f"{site}/admin/second-factor/")
    set_up(page)
    old = page.locator("#codes").inner_text().split()
    page.get_by_role("link", name="Second factor").first.click()
    page.get_by_role("link", name="New recovery codes…").click()
    shoot("second-factor-renew")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Make new ones").click()
    assert not set(page.locator("#codes").inner_text().split()) & set(old)
    page.goto(f"{site}/admin/second-factor/remove/")
    shoot("second-factor-remove")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("Your second factor is removed")).to_be_visible()
    assert not SecondFactor.objects.exists()


def test_a_lost_one_is_removed_by_an_administrator(page: Page, site: str, shoot: Shoot) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD, is_staff=True)
    SecondFactor.objects.enrol(bob, b"1" * 20, app(b"1" * 20))
    give_password(page, site)
    page.goto(f"{site}/admin/tenants/user/")
    expect(page.get_by_text("set up")).to_be_visible()
    shoot("people-second-factor")
    page.goto(f"{site}/admin/tenants/user/{bob.pk}/change/")
    shoot("person-second-factor")
    page.get_by_role("link", name="Remove second factor…").click()
    shoot("person-remove-second-factor")
    page.get_by_label("Reason").fill("phone lost, called back")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("Removed the second factor of bob.")).to_be_visible()


def test_where_it_is_required_nothing_opens_before(page: Page, site: str, shoot: Shoot, settings: Any) -> None:
    settings.CONSOLE_TOTP = "required"
    give_password(page, site)
    expect(page.get_by_text("This site wants one of everybody")).to_be_visible()
    expect(page.locator("#console-nav")).to_have_count(0)
    shoot("second-factor-required")
    set_up(page)
    page.get_by_role("link", name="I have stored them, continue").click()
    expect(page).to_have_url(re.compile(r"/admin/$"))
    expect(page.locator("#console-nav")).to_be_visible()


class TestAccessibility:
    @pytest.fixture
    def guarded(self) -> bool:
        """axe paints its own styles to measure."""
        return False

    def test_no_step_shuts_anyone_out(self, page: Page, site: str) -> None:
        def look(step: str) -> None:
            for scheme, width in (("light", 1280), ("dark", 360)):
                page.set_viewport_size({"width": width, "height": 900})
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                page.wait_for_timeout(300)  # the admin's colours fade
                assert axe.violations(page) == [], (step, scheme)

        give_password(page, site)
        page.goto(f"{site}/admin/second-factor/")
        look("enrol")
        set_up(page)
        look("codes")
        for name in ("", "recovery-codes/", "remove/"):
            page.goto(f"{site}/admin/second-factor/{name}")
            look(name)
        page.get_by_role("button", name="Sign out").click()
        give_password(page, site)
        look("code")
        page.get_by_role("textbox", name="Code").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("That is not it")).to_be_visible()
        look("wrong code")
