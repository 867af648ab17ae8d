"""Pixels in: sources, decoding and batches. Imports no JAX."""
