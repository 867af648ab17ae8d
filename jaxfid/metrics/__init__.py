"""Numbers from features or moments."""
