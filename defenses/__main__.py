"""`python -m defenses`: list, train and evaluate classifiers and defences."""

from defenses.commands.interruption import run_command

if __name__ == "__main__":
    run_command("defenses.command_line")
