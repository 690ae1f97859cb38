"""Tests: unit tests mirror prefgen/ and train/; comfyui/ drives a real ComfyUI server."""
