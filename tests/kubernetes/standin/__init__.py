"""A stand-in for Pulumi's `kubernetes` provider plugin, for machines that cannot download it.

It serves the package `kubernetes` to the real engine and the real typed SDK, and works on a real API server. What it
does, when it waits and what it keeps in the state follow the official provider's source (pulumi/pulumi-kubernetes,
provider/pkg): create, then server-side apply; previews by the server's dry run; a Deployment's rollout, a Service's
endpoints and a Job's end are waited for; one that is there but not well is a partial failure, which the state keeps.
"""
