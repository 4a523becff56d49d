"""Ways from other schedulers to Gnomon: their schedulers can be observed, and their jobs can be imported.

Nothing in the kernel imports these modules, and they import no scheduler unless the caller already has one.
"""
