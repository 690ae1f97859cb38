"""Probes of a frozen PrefDisc (method.md section 3): which layers know whose history this is, and what is liked.

`states.py` collects last-token states of every layer, `classify.py` reads them with a linear classifier, `choose.py`
picks the layers of `sem` and `core`, `picture.py` draws accuracy by layer, `sources.py` has the users: simulated ones,
or a set on disk.
"""
