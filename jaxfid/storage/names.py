"""placeholder"""

import hashlib
import re


def slug(name: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-40:].strip("-.")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}"
