"""What each party does in a task, over a ledger and a store; none of it knows how messages travel."""
