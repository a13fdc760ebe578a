"""`python -m deploy.local`."""

from deploy.local.cli import local

if __name__ == "__main__":
    local(prog_name="deploy local")
