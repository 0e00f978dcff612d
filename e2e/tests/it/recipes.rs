//! The recipes of docs/recipes.md, run as they are written there.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    cli::{Cli, Ran},
    platform::{Platform, repository},
};

/// One fenced block.
struct Block {
    language: String,
    /// Named by the line before it.
    file: Option<String>,
    text: String,
}

#[test]
fn recipes_deploy_roll_back_and_keep_the_old_version() {
    let platform = Platform::start();
    let recipes = Recipes::read();
    let shell = Shell::new(&platform);
    let admin = format!("cf api $CUPOLA_API && cf auth admin {}", platform.admin_password());
    shell.ok(&admin);
    for line in recipes.commands("Recipes: deliveries from what you have") {
        shell.ok(&line);
    }

    runs_of_make(&platform, &recipes, &shell);
    runs_of_capistrano(&platform, &recipes, &shell);
    runs_of_github_actions(&platform, &recipes, &shell);
}

fn runs_of_make(platform: &Platform, recipes: &Recipes, shell: &Shell) {
    let [deploy, rollback] = recipes.begin("make", shell);

    shell.serves("one").ok(&deploy);
    shell.serves("two").ok(&deploy);
    expect(platform, "two");
    shell.ok(&rollback);
    expect(platform, "one");
    shell.breaks().fails(&deploy);
    expect(platform, "one");
}

fn runs_of_capistrano(platform: &Platform, recipes: &Recipes, shell: &Shell) {
    let [deploy, rollback] = recipes.begin("Capistrano", shell);

    shell.serves("three").ok(&deploy);
    expect(platform, "three");
    shell.ok(&rollback);
    expect(platform, "one");
    shell.breaks().fails(&deploy);
    expect(platform, "one");
}

/// The steps of the workflow, by the shell and with the options that a runner uses.
fn runs_of_github_actions(platform: &Platform, recipes: &Recipes, shell: &Shell) {
    let [revisions, rollback] = recipes.begin("GitHub Actions", shell);
    let workflow = fs::read(shell.folder.join(".github/workflows/deploy.yml")).unwrap();
    let workflow: Value = serde_yaml_ng::from_slice(&workflow).unwrap();
    let job = &workflow["jobs"]["deploy"];
    let names: Vec<_> = job["env"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["CF_HOME", "CF_PASSWORD", "CF_USERNAME", "CUPOLA_API"]);
    let deliver = |shell: &Shell| {
        let steps = job["steps"].as_array().unwrap();
        assert_eq!(steps[0]["uses"], "actions/checkout@v4");
        let scripts = steps[1..].iter().map(|step| step["run"].as_str().unwrap());
        // A runner stops at the first step that fails.
        let mut ran: Vec<Ran> = Vec::new();
        for script in scripts {
            ran.push(shell.run(script));
            if ran.last().is_some_and(|ran| ran.code != Some(0)) {
                break;
            }
        }
        ran.pop().unwrap()
    };

    let delivered = deliver(shell.serves("four"));
    assert_eq!(delivered.code, Some(0), "{delivered}");
    expect(platform, "four");
    let broken = deliver(shell.breaks());
    assert_eq!(broken.code, Some(1), "{broken}");
    assert!(broken.line.contains("cf push"), "{broken}");
    expect(platform, "four");
    shell.ok(&revisions);
    shell.ok(&rollback);
    expect(platform, "one");
}

#[track_caller]
fn expect(platform: &Platform, page: &str) {
    assert_eq!(platform.get("shop", "/").body, format!("{page}\n"));
}

struct Recipes {
    /// The blocks below each heading.
    chapters: BTreeMap<String, Vec<Block>>,
}

impl Recipes {
    fn read() -> Self {
        let text = fs::read_to_string(repository().join("docs/recipes.md")).unwrap();
        let mut chapters = BTreeMap::<String, Vec<Block>>::new();
        let (mut heading, mut file, mut lines) = (String::new(), None, text.lines());
        while let Some(line) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let inside = lines.by_ref().take_while(|line| *line != "```");
                let text = inside.map(|line| format!("{line}\n")).collect();
                let block = Block { language: language.to_owned(), file: file.take(), text };
                chapters.entry(heading.clone()).or_default().push(block);
            } else if let Some(title) = line.trim_start_matches('#').strip_prefix(' ')
                && line.starts_with('#')
            {
                heading = title.to_owned();
            } else if let Some(name) = line.strip_prefix('`').and_then(|it| it.strip_suffix("`:")) {
                file = Some(name.to_owned());
            }
        }
        Self { chapters }
    }

    fn commands(&self, heading: &str) -> Vec<String> {
        let blocks = self.chapters[heading].iter().filter(|block| block.language == "console");
        let lines = blocks.flat_map(|block| block.text.lines());
        lines.filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
    }

    /// Writes the files of a recipe, and says its commands.
    #[track_caller]
    fn begin<const COMMANDS: usize>(&self, heading: &str, shell: &Shell) -> [String; COMMANDS] {
        let files =
            self.chapters[heading].iter().filter_map(|block| Some((block.file.as_ref()?, block)));
        for (name, block) in files {
            let path = shell.folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &block.text).unwrap();
        }
        self.commands(heading)
            .try_into()
            .expect("the recipe has as many commands as this test runs")
    }
}

/// Somebody at a terminal in the app's folder, with both command lines on the path.
struct Shell {
    folder: PathBuf,
    bash: Cli,
}

impl Shell {
    fn new(platform: &Platform) -> Self {
        let programs = platform.app_folder("programs");
        symlink(platform.cupola().program, programs.join("cupola")).unwrap();
        symlink(platform.cf_without_api("deployer").program, programs.join("cf")).unwrap();
        let home = platform.app_folder("home");
        let password_file = home.join("password");
        fs::write(&password_file, "secret-of-the-deployer").unwrap();
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        let environment = [
            ("PATH", format!("{}:{path}", programs.display())),
            ("HOME", display(&home)),
            ("CF_HOME", display(&home)),
            ("CF_COLOR", "false".to_owned()),
            ("CF_USERNAME", "deployer".to_owned()),
            ("CF_PASSWORD", "secret-of-the-deployer".to_owned()),
            ("CUPOLA_API", platform.url.clone()),
            ("DEPLOYER_PASSWORD", "secret-of-the-deployer".to_owned()),
            ("PASSWORD_FILE", display(&password_file)),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let folder = platform.app_folder("shop");
        let bash = Cli { program: "bash".into(), environment, directory: folder.clone() };
        Self { folder, bash }
    }

    fn run(&self, script: &str) -> Ran {
        self.bash.run(&["-e", "-o", "pipefail", "-c", script])
    }

    #[track_caller]
    fn ok(&self, line: &str) {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{ran}");
    }

    #[track_caller]
    fn fails(&self, line: &str) {
        let ran = self.run(line);
        assert_ne!(ran.code, Some(0), "{ran}");
    }

    /// The app, with this as its page.
    fn serves(&self, page: &str) -> &Self {
        let _ = fs::remove_file(self.folder.join("Procfile"));
        fs::write(self.folder.join("Staticfile"), "root: public\n").unwrap();
        fs::create_dir_all(self.folder.join("public")).unwrap();
        fs::write(self.folder.join("public/index.html"), format!("{page}\n")).unwrap();
        self
    }

    /// An app that ends as soon as it is started.
    fn breaks(&self) -> &Self {
        fs::write(self.folder.join("Procfile"), "web: echo broken; exit 3\n").unwrap();
        self
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
