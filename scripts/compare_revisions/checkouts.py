"""Writes the files of a revision, or of the working tree, into a folder."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKING_TREE = "working tree"


def check_out(revision: str, folder: Path) -> Path:
    """Write a revision's files.

    Uses a separate index, so that neither the repository's index nor its list of worktrees changes.

    Args:
        revision: Anything that names a commit, or `WORKING_TREE` for the tracked and new files as they are now.
        folder: Folder to create.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    if revision == WORKING_TREE:
        for name in git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
    else:
        index = {"GIT_INDEX_FILE": str(folder.with_name(f"{folder.name}.index"))}
        git("read-tree", f"{revision}^{{tree}}", environment=index)
        git("checkout-index", "--all", f"--prefix={folder}/", environment=index)
    return folder


def commit_name(revision: str) -> str:
    """Return the short hash and subject of a revision; for the working tree, of the commit it is based on."""
    commit = git("log", "-1", "--format=%h %s", "HEAD" if revision == WORKING_TREE else revision).strip()
    return f"{WORKING_TREE} on {commit}" if revision == WORKING_TREE else commit


def git(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run git in the repository and return its output."""
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"`git {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout
