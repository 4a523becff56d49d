"""From one config file to a kernel with its plugins and jobs."""
