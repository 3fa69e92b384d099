"""What stands behind a query interface: oracles, losses, services and other callables, images to attack."""
