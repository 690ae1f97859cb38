"""Pictures that nodes output: reward curves, score charts and profile panels."""
