"""What every evaluation of painted pictures shares: unseen agents and what is asked, and how a picture is measured.

`agents.py` has the people, `drawn.py` draws those of a command, `kept.py` keeps what was painted, `measures.py` has the
mathematics, `eyes.py` the pocket CLIP's features, `measuring.py` measures a row, `sheets.py` what contact sheets share.
"""
