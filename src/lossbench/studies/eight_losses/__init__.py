"""Eight losses on Fashion-MNIST, each at its own learning rate."""
