"""Tests of pixels coming in."""
