"""The command line `python -m prefgen`: convert and inspect checkpoints, score images and encode users.

`convert.py`, `inspect.py`, `score.py` and `encode.py` are the commands; `options.py` holds what `score` and `encode`
share. `image_sources.py` and `parquet.py` read images, `histories.py` finds users, `scoring.py` and `encoding.py` do
the work, `resumable_output.py` records finished rows, and `processes.py` distributes the work.
"""
