"""PrefDisc, the preference model: an Idefics2 that reads a user's history and says whether they will like an image."""
