"""Runs `python -m train.evaluate.reno`; see run.py."""

from train.evaluate.reno import main

if __name__ == "__main__":
    main()
