//! All that is wrong with a config, at once and with its position.

use super::Request;
use crate::error::Error;
use crate::host::Host;
use crate::plan::probe::probe;
use crate::spec::position::{self, Position};
use crate::spec::{Spec, load};
use serde::Serialize;
use serde_json::Value;

/// How serious a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The container would not be created.
    Error,
    /// Something is ignored.
    Warning,
    /// Something is done otherwise than asked, on this host and for this caller.
    Note,
}

/// One problem of a config.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// How serious the problem is.
    pub level: Level,
    /// As errors name it, such as `mounts[3]`.
    pub property: String,
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// Line in config.json, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What mends it.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A config has more mistakes than anybody reads before it has this many.
const MOST_TYPE_ERRORS: usize = 200;

/// Finds all problems of a config's text, by their positions. Nothing is run.
pub fn check(text: &str, request: &Request, host: &Host) -> Vec<Problem> {
    let mut value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(_) => {
            let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) else {
                return vec![problem(Level::Error, Error::new("not a config"), Position { line: 1, column: 1 }, "")];
            };
            let explained = load::parse(text).err().unwrap_or_else(|| Error::new(error.to_string()));
            let position = Position { line: error.line(), column: error.column() };
            return vec![problem(Level::Error, explained, position, "")];
        }
    };
    if !value.is_object() {
        return vec![problem(Level::Error, load::not_an_object(), Position { line: 1, column: 1 }, "")];
    }
    // A map of JSON has each key once, and so does not tell.
    let twice = load::parse(text).err().filter(|error| error.message.starts_with("written twice"));
    let wrong_types = neutralize(&mut value);
    let is_about_them = |property: &str| {
        let parts = position::parts(property);
        let mut wrong = wrong_types.iter().map(|error| position::parts(&error.property));
        !parts.is_empty() && wrong.any(|other| other.starts_with(&parts) || parts.starts_with(&other))
    };

    let mut unknown = Vec::new();
    let spec: Result<Spec, _> =
        serde_ignored::deserialize(&value, |path| unknown.push(load::path_of(&path.to_string())));
    let (mut errors, plan) = match spec {
        Ok(spec) => {
            let (mut errors, plan) = super::check_all(&spec, request, host);
            errors.extend(probe(&plan));
            errors.extend(missing_hooks(&spec));
            errors.extend(load::check_version(&spec, text).err());
            (errors, plan)
        }
        // Of what could not be read, nothing is known to be missing.
        Err(_) => Default::default(),
    };
    errors.retain(|error| !is_about_them(&error.property));

    let unknown = unknown.iter().map(|path| load::unknown_property(path));
    let warnings = plan.warnings.into_iter().filter(|error| !is_about_them(&error.property)).chain(unknown);
    let notes = plan
        .decisions
        .into_iter()
        .map(|decision| Error::in_config(decision.property, decision.done).because(decision.reason));
    let notes = notes.filter(|error| !is_about_them(&error.property));

    let all = (twice.into_iter().chain(wrong_types.iter().cloned()).chain(errors).map(|error| (Level::Error, error)))
        .chain(warnings.map(|error| (if request.strict { Level::Error } else { Level::Warning }, error)))
        .chain(notes.map(|error| (Level::Note, error)));
    let mut problems: Vec<_> = all.map(|(level, error)| located(level, error, text)).collect();
    problems.sort_by_key(|problem| (problem.level, problem.line, problem.column));
    problems.dedup();
    problems
}

/// Hooks of the host that are not there. (The container's are not the host's business.)
fn missing_hooks(spec: &Spec) -> Vec<Error> {
    let Some(hooks) = &spec.hooks else { return Vec::new() };
    let lists = hooks.lists().into_iter().filter(|(name, _)| *name != "startContainer");
    let all = lists.flat_map(|(name, list)| list.iter().enumerate().map(move |hook| (name, hook)));
    all.filter_map(|(name, (index, hook))| {
        // What is not absolute is wrong anyway.
        let error = std::fs::metadata(&hook.path).err().filter(|_| hook.path.starts_with('/'))?;
        Some(Error { property: format!("hooks.{name}[{index}]"), ..Error::from_io(&hook.path, &error) })
    })
    .map(|error| error.remedy("correct the path of the hook"))
    .collect()
}

/// Puts something neutral of the right type in place of each value of the wrong one, and says which they were.
fn neutralize(config: &mut Value) -> Vec<Error> {
    let mut errors: Vec<Error> = Vec::new();
    while errors.len() < MOST_TYPE_ERRORS {
        let Err(error) = serde_path_to_error::deserialize::<_, Spec>(&*config) else { break };
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let pointer = position::pointer(&position::parts(&path));
        let expected = message.rsplit("expected ").next().unwrap_or_default();
        let neutral = match expected {
            text if text.contains("sequence") => Value::Array(Vec::new()),
            text if text.contains("struct") || text.contains("map") => Value::Object(serde_json::Map::new()),
            text if text.contains("string") => Value::from(""),
            text if text.contains("boolean") => Value::from(false),
            _ => Value::from(0),
        };
        errors.push(load::wrong_type(if path == "." { "config.json" } else { &path }, &message));
        match config.pointer_mut(&pointer) {
            Some(value) if *value != neutral => *value = neutral,
            _ => break,
        }
    }
    errors
}

fn located(level: Level, error: Error, text: &str) -> Problem {
    let parts = position::parts(&error.property);
    problem(level, error, position::find(text, &parts), &position::pointer(&parts))
}

fn problem(level: Level, error: Error, position: Position, pointer: &str) -> Problem {
    let message = Error { property: String::new(), ..error.clone() }.to_string();
    Problem {
        level,
        property: error.property,
        pointer: pointer.to_owned(),
        line: position.line,
        column: position.column,
        message: message.trim_start_matches("config.json: ").to_owned(),
        because: error.because,
        remedy: error.remedy,
    }
}
