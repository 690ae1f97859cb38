"""A real browser on a real ComfyUI: Debian's chromium over its own debugging protocol, with nothing else to install."""

from .chromium import Page, PageError, find_chromium, open_page

__all__ = ["Page", "PageError", "find_chromium", "open_page"]
