"""Language models on the host: what they are made from, and what came out, as plain data."""
