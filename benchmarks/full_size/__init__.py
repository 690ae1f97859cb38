"""PrefGen at full size, with random weights and no download: what it takes, and how near each part is to the machine's
limit."""
