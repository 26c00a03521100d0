"""Jobs: the one door for clients, workers and the reconciler.

jobs         all of it, as one class
states       the states and every move between them
rows         what the tables hold, as values
requests     clients: submit, cancel, pause, resume, retry
lists        clients: look at jobs, events, checkpoints
search       clients: find jobs
waits        clients: why a job waits
figures      operators: how many there are, and how they do
leases       workers: claim, hold, progress, events
checkpoints  workers: checkpoints and their models
shards       workers: shards of batches
endings      workers: finish, or give back
recovery     the reconciler: lost workers, deadlines
"""
