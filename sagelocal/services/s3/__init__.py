"""S3 as plain files: `tree` maps keys to files, `metadata` remembers what a file cannot, the rest is the protocol."""
