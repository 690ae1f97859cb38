"""What a training of PrefDisc needs, by arithmetic on the base's shapes: nothing is downloaded, nothing computed."""
