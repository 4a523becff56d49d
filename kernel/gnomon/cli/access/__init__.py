"""Access to a kernel and its log: the deployment on this machine, or a server over HTTP."""
