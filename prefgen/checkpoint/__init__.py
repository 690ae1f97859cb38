"""Preference checkpoints: the file format, the loaded model, IP-Adapter files, and conversion of published weights."""

from .file import KIND, PARTS, Checkpoint, is_checkpoint, read_checkpoint, write_part

__all__ = ["KIND", "PARTS", "Checkpoint", "is_checkpoint", "read_checkpoint", "write_part"]
