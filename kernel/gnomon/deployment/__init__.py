"""From a config file to a kernel: the config, its plugins and jobs, and the reload of a running kernel."""
