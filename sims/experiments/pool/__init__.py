"""The experiment `pool`: a pool of local implicit purifiers trained on what attacks make of training images."""
