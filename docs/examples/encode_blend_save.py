"""Encode two people, print how different their tastes are, and save a blend of both.

Load User Embedding reads the file in ComfyUI if it is in user/prefgen/embeddings.
"""

import argparse
from pathlib import Path

import prefgen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("users", nargs=2, help="bundled people, or folders with pairs.json")
    parser.add_argument("--weights", type=float, nargs=2, default=(0.5, 0.5), help="weight of each person")
    parser.add_argument("--checkpoint", default="pocket", help="preference checkpoint")
    parser.add_argument("--out", type=Path, default=Path("blend.safetensors"), help="output file")
    options = parser.parse_args()

    model = prefgen.load_preference_model(options.checkpoint)
    embeddings = []
    for user in options.users:
        folder = Path(user)
        history = prefgen.UserHistory.from_folder(folder) if folder.is_dir() else prefgen.bundled_history(user)
        embeddings.append(prefgen.encode_user(model, history))
    print(f"distance {prefgen.distance(*embeddings):.3f} (0 same taste, 1 unrelated, 2 opposite)")
    prefgen.save_embedding(options.out, prefgen.blend(embeddings, options.weights))
    print(f"saved {options.out}")


if __name__ == "__main__":
    main()
