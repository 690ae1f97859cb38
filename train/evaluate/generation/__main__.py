"""Runs `python -m train.evaluate.generation`; see run.py."""

from train.evaluate.generation import main

if __name__ == "__main__":
    main()
