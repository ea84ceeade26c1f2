"""What `--doctor` looks at: the data, the network, the learning rate."""
