"""Recipe and rig to `Result`: stages, run, compare, bench."""
