"""The socket types of the pack. `web/sockets.js` gives them their colors."""

from comfy_api.latest import io

PreferenceModelType = io.Custom("PREFGEN_MODEL")
"""A `prefgen.checkpoint.preference_model.PreferenceModel`."""

HistoryType = io.Custom("PREFGEN_HISTORY")
"""A `prefgen.history.UserHistory`, `LikedImages` or `NothingLiked`."""

EmbeddingType = io.Custom("PREFGEN_EMBEDDING")
"""A `prefgen.embedding.UserEmbedding`."""
