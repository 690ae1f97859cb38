"""The benchmark of faults, in small; and that it would notice what it looks for."""

import json
import os

import pytest

from benchmarks import rating_faults
from prefgen.profile import Profiles


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_nothing_is_lost_or_doubled(tmp_path):
    result = rating_faults.run(kills=3, ratings=24, servers=0, seed=1)
    killed, at_once = result["killed"], result["at_once"]
    assert result["faultless"]
    assert killed["in_profile"] >= killed["acknowledged"] >= 3
    assert (killed["lost"], at_once["lost"], at_once["doubled"]) == (0, 0, 0)
    assert at_once["acknowledged"] == 36, "both had an answer for every image, also for those that the other had rated"


def test_a_loss_would_be_seen(tmp_path):
    me = Profiles(tmp_path).profile(rating_faults.NAME)
    kept, lost, turned, broken = (rating_faults.unique_image(number) for number in range(4))
    for image in (kept, turned, broken):
        me.rate(image, True)
    me.image_path(broken.digest).write_bytes(rating_faults.unique_image(9).encode())
    acknowledged = [[0, kept.digest, True], [1, lost.digest, True], [2, turned.digest, False], [3, broken.digest, True]]
    assert rating_faults.missing(me, acknowledged) == 3


def test_a_line_that_was_cut_off_was_not_said():
    whole = json.dumps([1, "a", True]) + "\n"
    assert rating_faults.parse_acknowledgements([whole, whole[:-3]]) == [[1, "a", True]]
