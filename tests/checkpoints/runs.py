"""Folders of checkpoints that samplers of the tests read."""


def write_run(folder, levels):
    """Writes a checkpoint for each step, which holds a number."""
    folder.mkdir(exist_ok=True)
    for step, level in levels.items():
        (folder / f"step{step}.msgpack").write_text(str(level))
    return folder
