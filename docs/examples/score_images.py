"""Score images for a person and print them, best first."""

import argparse
from pathlib import Path

import torch

import prefgen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+", help="image files")
    parser.add_argument("--user", default="ada", help="a bundled person, or a folder with pairs.json")
    parser.add_argument("--prompt", default="", help="prompt that the images were made for")
    parser.add_argument("--checkpoint", default="pocket", help="preference checkpoint")
    options = parser.parse_args()

    model = prefgen.load_preference_model(options.checkpoint)
    folder = Path(options.user)
    history = prefgen.UserHistory.from_folder(folder) if folder.is_dir() else prefgen.bundled_history(options.user)
    prefix = model.encode_history(history)  # read once, used for every image
    scores = {}
    with torch.no_grad():
        for path in options.images:
            image = prefgen.read_image(path)[None]  # (1, 3, H, W) in [0, 1]
            scores[path] = model.prefdisc.score(prefix, image, options.prompt).item()
    for path, score in sorted(scores.items(), key=lambda item: -item[1]):
        print(f"{score:.3f}  {path}")


if __name__ == "__main__":
    main()
