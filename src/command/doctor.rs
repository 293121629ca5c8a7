//! `rootlet doctor`.

use super::Globals;
use super::plan::Format;
use crate::container::States;
use crate::container::create::rootfs_of;
use crate::container::state::directory::CONFIG;
use crate::doctor::{Finding, Need, Verdict, examine, of_rootfs};
use crate::error::{Result, printable};
use crate::host::Host;
use crate::log::Log;
use crate::property::Request;
use crate::property::check::{Level, Problem, check};
use crate::spec::{Spec, load};
use crate::sys::tty;
use clap::Parser;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Say what this host allows, and how to mend what it does not
#[derive(Debug, Parser)]
#[command(after_help = "\
Each thing is tried for real, in processes that leave nothing. The exit code is 0 if what `rootlet spec` writes could run, or the
BUNDLE, and 1 if not.

Examples:
  rootlet doctor                    this host, and you on it
  rootlet doctor ./box              whether that bundle could run here
  rootlet doctor --format json | jq '.findings[] | select(.verdict != \"ok\")'")]
pub struct Doctor {
    /// Judge this bundle, too
    #[arg(value_name = "BUNDLE")]
    bundle: Option<PathBuf>,
    /// How to print
    #[arg(short, long, default_value = "text", value_enum)]
    format: Format,
}

/// A bundle, and what is wrong with it.
struct Judged {
    spec: Spec,
    rootfs: PathBuf,
    problems: Vec<Problem>,
}

impl super::Run for Doctor {
    fn run(self, globals: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let host = Host::new()?;
        let mut findings = examine(&host);
        findings.push(try_states(globals));
        let judged = self.bundle.as_deref().map(|bundle| judge(bundle, globals, &host)).transpose()?;
        findings.extend(judged.as_ref().and_then(|judged| of_rootfs(&judged.rootfs)));
        let is_needed = |finding: &Finding| is_needed(finding.need, judged.as_ref().map(|judged| &judged.spec));
        let obstacles: Vec<_> =
            findings.iter().filter(|finding| finding.verdict == Verdict::Missing && is_needed(finding)).collect();
        let problems = judged.as_ref().map_or(&[][..], |judged| &judged.problems);
        let errors = problems.iter().filter(|problem| problem.level == Level::Error).count();
        let works = obstacles.is_empty() && errors == 0;
        let text = match self.format {
            Format::Json => {
                let mut document = json!({ "works": works, "findings": findings });
                if let Some(bundle) = &self.bundle {
                    document["bundle"] = json!(bundle);
                    document["problems"] = json!(problems);
                }
                format!("{document:#}\n")
            }
            Format::Text => {
                let colours = Colours::new();
                let table: String = findings.iter().map(|finding| row(finding, &colours)).collect();
                let judged = problems.iter().map(|problem| line(problem, &colours)).collect::<String>();
                let what = match &self.bundle {
                    None => "what `rootlet spec` writes".to_owned(),
                    Some(bundle) => bundle.display().to_string(),
                };
                let reasons: Vec<_> = obstacles.iter().map(|finding| finding.subject.to_owned()).collect();
                let reasons = reasons.into_iter().chain((errors > 0).then(|| match errors {
                    1 => "an error in its config".to_owned(),
                    _ => format!("{errors} errors in its config"),
                }));
                let verdict = match works {
                    true => format!("{what} can run here"),
                    false => format!("{what} cannot run here: {}", reasons.collect::<Vec<_>>().join(", ")),
                };
                format!("{table}{judged}\n{verdict}\n")
            }
        };
        super::is_heard_raw(&text)?;
        Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whether states can be kept, by keeping one for a moment.
fn try_states(globals: &Globals) -> Finding {
    const SUBJECT: &str = "states";
    let keep = || {
        let root = globals.root()?;
        let is_new = !root.path().exists();
        sweep(&root)?;
        let reservation = root.reserve(&format!("{ID}{}", std::process::id()))?;
        // As large as one is, for a disk that is full.
        let written = reservation.directory.write(CONFIG, &[b' '; 8192]);
        reservation.directory.destroy(&[])?;
        if is_new {
            // Unless somebody has begun a container meanwhile.
            let _ = std::fs::remove_dir(root.path());
        }
        written.map(|()| root.path().to_owned())
    };
    match keep() {
        Ok(path) => Finding::ok(SUBJECT, Need::All, format!("are kept in {}", path.display())),
        Err(error) => Finding::of_error(SUBJECT, Need::All, "no container can be made", error),
    }
}

/// In front of the pid of who tries.
const ID: &str = "doctor-";

/// Removes what doctors have left that were killed: states in which nothing ever ran.
fn sweep(root: &States) -> Result<()> {
    for id in root.left(ID)?.concat() {
        // Somebody else may be at it.
        let _ = root.sweep(&id);
        if let Ok(reservation) = root.reserve(&id) {
            let _ = reservation.directory.destroy(&[]);
        }
    }
    Ok(())
}

fn judge(bundle: &Path, globals: &Globals, host: &Host) -> Result<Judged> {
    let bundle = super::create::absolute(bundle)
        .map_err(|error| error.remedy("name a bundle: a directory with a config.json"))?;
    let text = load::read(&bundle.join("config.json"))?;
    let spec = load::parse(&text)?.spec;
    let request = Request {
        id: "doctor".to_owned(),
        bundle,
        strict: globals.strict(),
        try_limits: globals.limits == super::global::Limits::Try,
        fuse: globals.fuse.clone(),
        ..Request::default()
    };
    let rootfs = rootfs_of(&spec, &request.bundle);
    Ok(Judged { problems: check(&text, &request, host), spec, rootfs })
}

/// Whether the config needs it; without one, what `rootlet spec` writes.
fn is_needed(need: Need, spec: Option<&Spec>) -> bool {
    let usual = ["mount", "pid", "ipc", "uts", "user"];
    let kinds = ["proc", "tmpfs", "devpts", "mqueue"];
    let Some(spec) = spec else {
        return match need {
            Need::All => true,
            Need::Namespace(name) => usual.contains(&name),
            Need::Mount(kind) => kinds.contains(&kind),
            _ => false,
        };
    };
    let has_user_namespace = spec.has_new_namespace("user");
    match need {
        Need::All => has_user_namespace,
        Need::Namespace(name) => has_user_namespace && spec.has_new_namespace(name),
        Need::Mount(kind) => has_user_namespace && spec.mounts.iter().any(|mount| mount.kind.as_deref() == Some(kind)),
        Need::MountPrefix(prefix) => {
            spec.mounts.iter().any(|mount| mount.kind.as_deref().is_some_and(|kind| kind.starts_with(prefix)))
        }
        Need::Filter => spec.linux().seccomp.is_some(),
        Need::Annotation(name) => spec.annotations.as_ref().is_some_and(|all| all.contains_key(name)),
        // The check of the config says which limits cannot be set.
        Need::Limits | Need::Terminal | Need::Nothing => false,
    }
}

/// Escapes for a terminal, where there is one and nobody minds (https://no-color.org).
struct Colours(bool);

impl Colours {
    fn new() -> Colours {
        let minds = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Colours(tty::is_terminal(tty::standard_output()) && !minds && !is_dumb)
    }

    fn paint(&self, text: &str, code: u8) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

fn row(finding: &Finding, colours: &Colours) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => ("ok", GREEN),
        Verdict::Limited => ("limited", YELLOW),
        Verdict::Missing => ("missing", RED),
    };
    show(colours, verdict, finding.subject, &finding.found, &finding.means, &finding.mend)
}

fn line(problem: &Problem, colours: &Colours) -> String {
    let level = match problem.level {
        Level::Error => ("error", RED),
        Level::Warning => ("warning", YELLOW),
        Level::Note => ("note", GREEN),
    };
    show(colours, level, &problem.property, &problem.message, &problem.because, &problem.remedy)
}

fn show(
    colours: &Colours,
    (word, colour): (&str, u8),
    subject: &str,
    found: &str,
    means: &Option<String>,
    mend: &Option<String>,
) -> String {
    let (subject, found) = (printable(subject, false), printable(found, false));
    let mut text = format!("{} {subject:20} {found}\n", colours.paint(&format!("{word:8}"), colour));
    for (label, part) in [("", means), ("try: ", mend)] {
        if let Some(part) = part {
            text.push_str(&format!("{:29} {label}{}\n", "", printable(part, false)));
        }
    }
    text
}
