"""What all other packages need: choosing by name, names of metrics, untrusted YAML, and libraries' internals."""
