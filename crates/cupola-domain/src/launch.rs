//! How the start command of a staged app is run: the same scripts, folder and variables as in
//! Cloud Foundry, so that what a buildpack prepares is there when the app starts.

/// The home of the app's files, and its working directory.
pub const APP_DIR: &str = "/home/vcap/app";
/// Where each buildpack puts what it supplies, in a folder named by its index.
pub const DEPS_DIR: &str = "/home/vcap/deps";
/// Where temporary files of a running app go.
pub const TMP_DIR: &str = "/home/vcap/tmp";
/// Where programs are looked up before any `profile.d` script has added its own folders.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A locale that every C library has without data files.
pub const LANG: &str = "C.UTF-8";

// The command is kept in a variable because a sourced script may change the positional parameters.
// `.` is given a path with a slash, or bash would look for `.profile` along PATH.
const SCRIPT: &str = r#"cupola_command=$1
cd "$HOME" || exit 1
[ -z "$TMPDIR" ] || [ -d "$TMPDIR" ] || mkdir -p "$TMPDIR"
for cupola_script in "${HOME%/*}"/profile.d/* "$HOME"/.profile.d/* "$HOME"/.profile; do
  if [ -f "$cupola_script" ]; then . "$cupola_script"; fi
done
unset cupola_script
exec bash -c "$cupola_command""#;

/// The program that sources the buildpacks' and the app's profile scripts and then becomes `command`.
pub fn launch_argv(command: &str) -> Vec<String> {
    ["/bin/bash", "-c", SCRIPT, "launch", command].map(str::to_owned).to_vec()
}

/// The variables that hold for every running app; they win over the app's own.
pub fn launch_environment() -> Vec<(String, String)> {
    [
        ("HOME", APP_DIR),
        ("TMPDIR", TMP_DIR),
        ("DEPS_DIR", DEPS_DIR),
        ("USER", "vcap"),
        ("PATH", PATH),
        ("LANG", LANG),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_an_argument_and_never_part_of_the_script() {
        let argv = launch_argv("echo \"$PORT\"; exit 3");

        assert_eq!(argv[..2], ["/bin/bash", "-c"]);
        assert_eq!(argv[3..], ["launch", "echo \"$PORT\"; exit 3"]);
        assert!(!argv[2].contains("exit 3"));
    }

    #[test]
    fn home_is_the_folder_of_the_app() {
        assert!(launch_environment().contains(&("HOME".into(), "/home/vcap/app".into())));
    }
}
