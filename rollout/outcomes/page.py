"""An account as one page: no script, nothing from elsewhere. Pure."""

from __future__ import annotations

from rollout.outcomes.account import Account


def outcomes_page(account: Account) -> str:
    """The page of `rollout outcomes --html`."""
    return f"{account.flag.key}: {account.sentence}"
