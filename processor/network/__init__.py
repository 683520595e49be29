"""The network: VGG-16 and its weights, the engines that run it, and the check that they agree."""
