"""What the pages show of the repository outside `docs/`, for MkDocs: one picture, and links to files."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PICTURE = "scripts/examples/train_and_compare/report.png"


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401
    """Adds the picture."""
    at = Path(config.config_file_path).parent / PICTURE
    files.append(File.generated(config, at.name, abs_src_path=str(at)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """Leads links to the picture, and makes names of those to other files, which no page has."""
    markdown = markdown.replace(f"](../{PICTURE})", f"]({Path(PICTURE).name})")
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)
