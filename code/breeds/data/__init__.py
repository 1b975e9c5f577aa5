"""Photos: archives, splits, decoding, shards and what travels between steps."""
