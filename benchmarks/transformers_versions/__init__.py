"""Compares the scores of one checkpoint under many versions of transformers.

    make python ARGS="-m benchmarks.transformers_versions"                          # the newest patch of each release
    make python ARGS="-m benchmarks.transformers_versions --versions 4.57.3 5.20.2"

Every version is installed into a folder of its own, which is deleted afterwards; the environment is left as it is. The
last line is one JSON object with the largest difference of a score from that of the environment's own transformers, for
each version and dtype. Versions below PrefDisc's bound must be refused with one sentence that names the bound.
"""
