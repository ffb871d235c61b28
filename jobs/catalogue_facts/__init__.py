"""What jobs/build_catalogue.py makes of the facts of each experiment."""
