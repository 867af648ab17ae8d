"""From opened sets to results: which networks, which metrics, what must not be compared."""
