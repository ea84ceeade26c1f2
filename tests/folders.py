"""Helpers that look for files and runs in folders."""


def names_in(folder):
    """What is in the folder, but for lock files, which some releases of filelock remove and others leave."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
