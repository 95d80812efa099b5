"""The compiled kernel: what happens inside replicas, many steps per call."""
