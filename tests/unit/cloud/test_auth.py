"""Keys, roles, the page's cookie, and where a request comes from."""

import pytest

from cloud.api.auth import Caller, Role, is_loopback, is_same_origin, key_in, keys_from, parse_keys
from openvrc.contracts.errors import SettingsError
from openvrc.settings import Settings

VIEWER_KEY, ADMIN_KEY = "viewer-key-0001", "admin:key:with:colons"


def test_a_key_has_a_name_and_a_role() -> None:
    keys = parse_keys(f"wall:viewer:{VIEWER_KEY}, boss:admin:{ADMIN_KEY},")
    assert keys.of_key(VIEWER_KEY) == Caller("wall", Role.VIEWER)
    assert keys.of_key(ADMIN_KEY) == Caller("boss", Role.ADMIN)
    assert keys.of_key("another-key-0002") is None
    assert keys.of_key("") is None
    assert keys.of_key("ü" * 20) is None


def test_a_cookie_stands_for_its_key_and_does_not_reveal_it() -> None:
    keys = parse_keys(f"wall:viewer:{VIEWER_KEY}")
    cookie = keys.cookie_of(VIEWER_KEY)
    assert cookie is not None
    assert VIEWER_KEY not in cookie
    assert keys.of_cookie(cookie) == Caller("wall", Role.VIEWER)
    assert keys.of_key(cookie) is None
    assert keys.of_cookie(VIEWER_KEY) is None
    assert keys.cookie_of("another-key-0002") is None
    assert parse_keys("wall:viewer:changed-key-0003").of_cookie(cookie) is None


@pytest.mark.parametrize(
    "text",
    [
        "justakey",
        "name:root:long-enough-key",
        "na me:admin:long-enough-key",
        "name:admin:short",
        "name:admin:" + "ü" * 20,
    ],
)
def test_a_malformed_entry_is_refused_without_repeating_the_key(text: str) -> None:
    with pytest.raises(SettingsError, match="entry 1") as error:
        parse_keys(text)
    assert "long-enough-key" not in str(error.value)


def test_a_key_is_found_in_either_header() -> None:
    assert key_in({"authorization": "Bearer abc"}) == "abc"
    assert key_in({"authorization": "bearer abc"}) == "abc"
    assert key_in({"x-api-key": "abc"}) == "abc"
    assert key_in({"authorization": "Basic abc"}) is None
    assert key_in({}) is None


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://a:1", "host": "a:1"}, True),
        ({"origin": "http://evil", "host": "a:1"}, False),
        ({"origin": "null", "host": "null"}, False),
        ({"host": "a:1"}, False),
    ],
)
def test_only_our_own_page_counts_as_same_origin(headers: dict[str, str], is_ours: bool) -> None:
    assert is_same_origin(headers) is is_ours


def test_without_keys_a_loopback_service_makes_one_and_others_refuse_to_start() -> None:
    keys, key = keys_from(Settings(cloud_host="127.0.0.1", cloud_api_keys="", api_key=""))
    assert key is not None
    caller = keys.of_key(key)
    assert caller is not None
    assert caller.role is Role.ADMIN
    with pytest.raises(SettingsError, match="VRC_CLOUD_API_KEYS"):
        keys_from(Settings(cloud_host="0.0.0.0", cloud_api_keys=" , "))


def test_an_edges_key_on_this_machine_becomes_the_services_key() -> None:
    keys, key = keys_from(Settings(api_key="edge-key-on-loopback"))
    assert key == "edge-key-on-loopback"
    assert keys.of_key("edge-key-on-loopback") is not None


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.0.4", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_rest(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local
