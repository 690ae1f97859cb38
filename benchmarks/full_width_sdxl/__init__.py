"""SDXL at full width with random weights in a ComfyUI server, for `benchmarks.gpu`."""

from pathlib import Path

PACK = Path(__file__).with_name("node_pack")
"""Folder to link into custom_nodes. It contains the node that creates the MODEL."""
