"""Training methods: one file each, and one line in ``distill.registry``; ``base`` says what a method is."""
