"""Compares the scores of one checkpoint under many versions of transformers.

    make python ARGS="-m benchmarks.transformers_versions"                          # the newest patch of each release
    make python ARGS="-m benchmarks.transformers_versions --versions 4.57.3 5.20.2"

Every version is installed into a separate folder, which is deleted afterwards; the environment is not changed. The last
line is one JSON object. For each version and dtype, it contains the largest difference between a score and the same
score under the environment's own transformers. PrefDisc must refuse versions below its minimum with an error message
that names the minimum.
"""
