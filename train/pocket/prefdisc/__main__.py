"""Trains or resumes the pocket PrefDisc and prints its accuracies.

python -m train.pocket.prefdisc --folder runs/prefdisc
"""

import argparse
import json
import logging
from pathlib import Path

from train.pocket.prefdisc import SHIPPED, train

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/prefdisc"), help="folder for states and logs")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder for the exported files")
    arguments = parser.parse_args()
    print(json.dumps(train(arguments.folder, out=arguments.out)))
