"""Scores from elsewhere: the client's side of a server of scores.

Words:
    transport: one way to reach a server; makes one attempt at a time and never tries again (``remote.transport``).
    window: the bounded number of requests that are under way at once.
    outage: nobody answers, or the answer broke off; another try may help.
    fallback: the model in this process, used when there is an outage, if the run allows it and the fingerprints agree.
"""
