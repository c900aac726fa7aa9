"""What every benchmark shares: the layers, the random problems, interleaved rounds, intervals, the machine."""
