"""Attention hooks: the user's branch in the cross-attention of ComfyUI's models."""
