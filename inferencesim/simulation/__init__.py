"""The fleet at work: tables from a plan, SimPy's clock around the kernel's."""
