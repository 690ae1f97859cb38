"""PrefGen's library: one person's taste, learnt from liked and disliked images. Torch in, torch out.

It knows neither ComfyUI nor training, and importing it loads nothing heavy.
"""
