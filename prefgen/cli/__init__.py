"""Scoring and encoding without ComfyUI: folders and Parquet sets of any size, by any number of processes and machines.

`images.py` and `parquet.py` read candidates, `people.py` finds people's histories, `score.py` and `encode.py` do the
work, `ledger.py` keeps what is done where a killed run left it, `processes.py` shares the work out; `command.py` is the
command line.
"""
