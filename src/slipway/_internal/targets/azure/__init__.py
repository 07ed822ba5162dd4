"""Azure: a gateway before services that run somewhere else."""
