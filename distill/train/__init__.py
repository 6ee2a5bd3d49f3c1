"""Training: a dataset of groups in, a student out.

``data`` reads groups as token ids, ``plan`` says which groups make which step, ``losses`` turn token
statistics into a loss, ``student`` is the model, ``optimizer`` moves its weights, ``checkpoint`` keeps
what a resumed run needs, ``loop`` runs it all and ``report`` says what came out.
"""
