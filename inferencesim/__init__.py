"""inferencesim: a discrete-event simulator of heterogeneous AI-inference fleets."""
