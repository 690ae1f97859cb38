"""Idefics2 base models: locate, download, load and quantise them."""
