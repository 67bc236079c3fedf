"""What a candidate must pass before promotion: checks, the process that each one's foreign code is enclosed in, and the
worker that does them."""
