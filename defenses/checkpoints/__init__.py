"""Published weights: what is known of them, how their files are read, how their names become ours."""
