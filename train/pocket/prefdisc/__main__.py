"""`python -m train.pocket.prefdisc --folder runs/prefdisc`: train (or resume) and print the accuracies."""

import argparse
import json
import logging
from pathlib import Path

from train.pocket.prefdisc import SHIPPED, train

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/prefdisc"), help="where states and logs are kept")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the shipped files are written")
    arguments = parser.parse_args()
    print(json.dumps(train(arguments.folder, out=arguments.out)))
