"""The pack's own sockets, beside core's."""

from comfy_api.latest import io

PreferenceModelType = io.Custom("PREFGEN_MODEL")
"""A `prefgen.checkpoint.preference_model.PreferenceModel`."""

HistoryType = io.Custom("PREFGEN_HISTORY")
"""A `prefgen.history.UserHistory`."""

EmbeddingType = io.Custom("PREFGEN_EMBEDDING")
"""A `prefgen.embedding.UserEmbedding`."""
