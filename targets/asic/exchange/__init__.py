"""Other tools' files: architectures and layers of SCALE-Sim and ZigZag in, SCALE-Sim and Timeloop out."""
