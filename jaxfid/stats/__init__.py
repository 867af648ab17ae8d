"""What is kept of the features: moments and statistics files."""
