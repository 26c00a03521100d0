"""Jobs whose work is done by a process of its own: what all kinds of them share.

process  the parent's hold on the process
parent   the process's line to its parent
run      the life of one claimed job, from the parent's side
"""
