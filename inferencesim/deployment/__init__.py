"""The physics, without a clock: chip × model × precision × parallelism × engine."""
