"""Memory: model loading under ComfyUI's management, and the choice of a precision."""
