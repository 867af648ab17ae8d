"""Everything that opens a path: reading, atomic writing, digests, headers, pickles."""
