//! The message for a step that failed: which property, what the kernel said, why, and what mends it. What is known of a step
//! whatever the host is stands in `words`; what depends on this host in `circumstances.rs`.

use super::{Entry, Join, circumstances};
use crate::doctor::causes;
use crate::error::Error;
use crate::sys::{self, Call, Errno};

/// The whole message for a step that failed.
pub fn explain(entry: &Entry, error: sys::Error, is_filtered: bool) -> Error {
    let property = entry.origin.to_string();
    if let Some(message) = entry.step.explain(error) {
        return with_filter(Error { property, ..message }, error, is_filtered);
    }
    let property = match entry.step.subject() {
        Some(subject) => format!("{property} ({subject})"),
        None => property,
    };
    let mut message = Error { errno: Some(error.errno), ..Error::in_config(property, error.call.name()) };
    if let Some(cause) = causes::of_machine(error.errno) {
        return message.because(cause.because).remedy(cause.remedy);
    }
    if let Some((because, remedy)) = entry.step.advise(error) {
        message = message.because(because).remedy(remedy);
    }
    let message = circumstances::add(message, entry, error).of_kernel(error);
    with_filter(message, error, is_filtered)
}

/// Adds that a filter may be the cause, if one is in force already.
fn with_filter(mut message: Error, error: sys::Error, is_filtered: bool) -> Error {
    if is_filtered && matches!(error.errno, Errno::EPERM | Errno::ENOSYS | Errno::EACCES) {
        let filter = "linux.seccomp is installed by then and may forbid the call";
        let mend = format!(
            "allow {} in linux.seccomp, or set process.noNewPrivileges to true: then the filter comes last",
            error.call.name()
        );
        let either = |own: Option<String>, other: String| match own {
            Some(own) => format!("{other}; or: {own}"),
            None => other,
        };
        let (because, remedy) = (message.because.take(), message.remedy.take());
        message = message.because(either(because, filter.to_owned())).remedy(either(remedy, mend));
    }
    message
}

/// A namespace could not be joined.
pub fn explain_join(join: &Join, error: sys::Error) -> Error {
    let Join::File { path, index, .. } = join else { return explain_entry(error) };
    let property = format!("linux.namespaces[{index}] ({})", path.to_string_lossy());
    let message = Error { errno: Some(error.errno), ..Error::in_config(property, error.call.name()) };
    match (error.call, error.errno) {
        (Call::Open, Errno::ENOENT | Errno::ESRCH | Errno::ENOTDIR) => message
            .because("there is no such namespace, or the process that it was named by has ended")
            .remedy("correct the path of the namespace"),
        (Call::Setns, Errno::EINVAL | Errno::ENOTTY) => message
            .because("what is there is no namespace of that type")
            .remedy("correct the path, or the type; see `ls -l` of it"),
        _ => message
            .because("the namespace does not exist, or belongs to a user namespace in which you have no privilege")
            .remedy("correct the path, or join the user namespace that it belongs to, as well"),
    }
}

/// The namespaces of a container could not be entered.
pub fn explain_entry(error: sys::Error) -> Error {
    let message = Error::from_call("cannot enter the container's namespaces", error);
    match error.errno {
        Errno::ESRCH => message.because("its first process has just ended, or the first thread of it"),
        Errno::EPERM | Errno::EACCES => message
            .because(
                "its user namespace is not yours, or you are in another one than when it was created; or its first process is \
                 becoming its program at this moment",
            )
            .remedy("try again, as the user and from the user namespace that created the container"),
        Errno::EINVAL => message.because("entering all at once needs Linux 5.8").remedy("use a newer kernel"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::trees::{Attributes, Bind};
    use crate::plan::step::{MountStep, ProgramStep, Step};
    use crate::plan::{Origin, Phase};
    use crate::sys::mount;
    use std::ffi::CStr;

    fn entry(step: impl Into<Step>) -> Entry {
        let origin = Origin { property: "mounts", index: Some(3) };
        Entry { phase: Phase::Inside, origin, step: step.into(), tolerate: &[] }
    }

    #[test]
    fn a_locked_flag_is_named_with_its_mend() {
        let attributes = Attributes { clear: mount::MOUNT_ATTR_NODEV, ..Attributes::default() };
        let step = MountStep::SetMountAttributes { target: c"/data".into(), attributes, itself: false };
        let error = explain(&entry(step), sys::Error::new(Call::MountSetattr, Errno::EPERM), false);
        assert_eq!(error.to_string(), "config.json: mounts[3] (/data): mount_setattr: EPERM (not permitted)");
        assert!(error.because.unwrap().contains("may not lift"));
        assert_eq!(error.remedy.unwrap(), "leave \"dev\" out of the options");
    }

    #[test]
    fn engines_recognise_a_missing_and_a_forbidden_program() {
        let find = |name: &CStr, errno| {
            let step = ProgramStep::FindExecutable { name: name.into(), candidates: Box::new([]) };
            explain(&entry(step), sys::Error::new(Call::Access, errno), false).message
        };
        assert_eq!(find(c"nosuch", Errno::ENOENT), "exec: \"nosuch\": executable file not found in $PATH");
        assert!(find(c"/nosuch", Errno::ENOENT).contains("no such file or directory"));
        assert!(find(c"/etc/passwd", Errno::EACCES).contains("permission denied"));
    }

    #[test]
    fn advice_never_has_the_words_that_engines_look_for() {
        for errno in [Errno::ENOENT, Errno::EACCES, Errno::EINVAL, Errno::ENOTDIR] {
            let bind = Bind { source: c"/x".into(), target: c"/y".into(), ..Bind::default() };
            let error = explain(&entry(MountStep::Bind(bind)), sys::Error::new(Call::Mount, errno), false);
            let text = format!("{error} {:?} {:?}", error.because, error.remedy).to_lowercase();
            assert!(error.because.is_some(), "{errno}");
            for phrase in ["permission denied", "operation not permitted", "no such file or directory", "not found"] {
                assert!(!text.contains(phrase), "{text}");
            }
        }
    }
}
