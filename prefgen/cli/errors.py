"""Errors of the command line."""

from __future__ import annotations

from ..errors import PrefGenError


class CommandError(PrefGenError):
    """Images, users or an output that a command cannot use."""
