"""What became of deploys: records, coins, evidence, and the guard that moves a percentage."""
