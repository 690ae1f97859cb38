"""Errors of offline work."""

from __future__ import annotations

from ..errors import PrefGenError


class OfflineError(PrefGenError):
    """Images, people or an output of offline work that cannot be used."""
