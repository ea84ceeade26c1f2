"""What all other packages need: choosing by name, names of metrics, YAML of strangers, and libraries' internals."""
