"""What all other packages need: choosing by name, names of metrics, and YAML from strangers."""
