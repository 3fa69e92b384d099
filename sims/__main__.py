"""`python -m sims`: list the experiments; `python -m sims NAME [options]`: run one."""

from defenses.commands.interruption import run_command

if __name__ == "__main__":
    run_command("sims.command_line")
