"""How commands reach a kernel: in this process, over the control socket, or by HTTP."""
