"""`pawline load-test`: how many requests an endpoint answers, how fast, and whether it scales by its policy."""
