"""What answers a screen: catalogue, points, and Cassandra within reach of a reader."""
