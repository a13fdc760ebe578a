"""Static pages: flags over time, evidence, deploys. Pure: values in, HTML out."""
