"""What is read and written outside: flags files, addresses, git and its history, lists of units.

Gives bytes, and does not decide what flags are worth. The only room that knows the
disk, the network and git.
"""
