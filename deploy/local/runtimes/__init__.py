"""What a machine really is: each module keeps the contract of `deploy.local.runtime`."""
