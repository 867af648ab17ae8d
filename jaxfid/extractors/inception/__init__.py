"""The FID's Inception-v3 of 2015-12-05."""
