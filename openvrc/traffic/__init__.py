"""State of the roads from what edges report: pure folds and models over `openvrc.contracts`."""
