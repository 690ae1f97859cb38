"""Tests the translation of pip's configuration to uv."""

from scripts.installing import parse_settings, uv_environment, uv_options

LISTING = r"""
:env:.default-timeout='180'
:env:.find-links='/wheels'
global.cert='/etc/ssl/ca.crt'
global.extra-index-url='file:///one/simple\nfile:///two/simple'
global.find-links='/older'
global.index-url='https://index.example/simple'
"""


def test_pip_settings_are_read_and_a_variable_wins_over_a_file():
    settings = parse_settings(LISTING)
    assert settings["extra-index-url"] == ["file:///one/simple", "file:///two/simple"]
    assert settings["find-links"] == ["/wheels"]


def test_every_index_reaches_uv():
    options = uv_options(parse_settings(LISTING))
    assert options == [
        *("--index-strategy", "unsafe-best-match", "--default-index", "https://index.example/simple"),
        *("--index", "file:///one/simple", "--index", "file:///two/simple", "--find-links", "/wheels"),
    ]
    assert uv_environment(parse_settings(LISTING)) == {"SSL_CERT_FILE": "/etc/ssl/ca.crt"}


def test_a_setting_without_counterpart_means_pip():
    assert uv_options(parse_settings("global.no-index='true'")) is None
    assert uv_options({}) == ["--index-strategy", "unsafe-best-match"]
