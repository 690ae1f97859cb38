"""Attention hooks: add the user's cross-attention to ComfyUI's models."""
