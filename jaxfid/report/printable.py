"""Text from files, made safe to show: one place for terminal, page, curve and CSV."""


def printable(text: str) -> str:
    """Returns the text with everything that is not printable written as an escape.

    Names of files may hold line breaks, codes that control a terminal or turn the direction of writing, and
    bytes that are not UTF-8, which no file or page can hold. Letters of every language stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
