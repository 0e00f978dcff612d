//! `cupola completions SHELL`.

use clap::Args;

#[derive(Args)]
pub struct Arguments {
    shell: clap_complete::Shell,
}

pub(crate) fn run(arguments: &Arguments, mut command: clap::Command) -> anyhow::Result<()> {
    clap_complete::generate(arguments.shell, &mut command, "cupola", &mut std::io::stdout());
    Ok(())
}
