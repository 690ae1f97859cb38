"""One real ComfyUI server for the whole test run: a start costs ten seconds."""

import signal

import pytest

from tests.comfyui import Client, running_server


def pytest_configure():
    # A polite kill unwinds like Ctrl-C, so that fixtures are torn down. (The server's guard also covers kill -9.)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def server():
    """The shared server. Tests may add models and inputs to it, and leave it usable."""
    with running_server() as running:
        yield running


@pytest.fixture
def comfy(server, request):
    """A client of the shared server; the server's log since the test's start is shown where the test fails."""
    seen = server.log.stat().st_size
    yield Client(server)
    report = getattr(request.node, "call_report", None)
    if report is not None and report.failed:
        news = server.log.read_bytes()[seen:].decode(errors="replace")
        report.sections.append(("ComfyUI's log", news))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.call_report = report
    return report
