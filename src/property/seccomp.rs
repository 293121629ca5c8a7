//! `linux.seccomp`: the filter is compiled here and installed as late as its privileges allow.

use super::{Planner, Property, Scope, annotations};
use crate::error::{Error, Result};
use crate::plan::step::PrivilegeStep;
use crate::plan::{Listener, Phase};
use crate::seccomp::{ARCHITECTURES, Action, Architecture, Condition, Operator, Profile, Rule};
use crate::spec::{Seccomp, Syscall, SyscallArgument};
use crate::sys::seccomp as sys;

/// Without no_new_privs, a filter needs CAP_SYS_ADMIN, so it comes before capabilities are dropped. What rootlet still
/// has to do must then be allowed by it.
pub const EARLY: Property =
    Property { paths: &["linux.seccomp"], phase: Phase::Bare, scope: Scope::Both, plan: plan_early };
/// With it, nothing but execve follows.
pub const LATE: Property =
    Property { paths: &["linux.seccomp"], phase: Phase::Last, scope: Scope::Both, plan: plan_late };

/// An action with its errno or message, if it has one.
type ActionWith = fn(u16) -> Action;

/// Names of actions.
pub const ACTIONS: [(&str, ActionWith); 9] = [
    ("SCMP_ACT_ALLOW", |_| Action::ALLOW),
    ("SCMP_ACT_ERRNO", Action::errno),
    ("SCMP_ACT_KILL", |_| Action::KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", |_| Action::KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", |_| Action::KILL_THREAD),
    ("SCMP_ACT_LOG", |_| Action::LOG),
    ("SCMP_ACT_NOTIFY", |_| Action::NOTIFY),
    ("SCMP_ACT_TRACE", Action::trace),
    ("SCMP_ACT_TRAP", |_| Action::TRAP),
];

/// Names of comparisons; MASKED_EQ has its mask in `value`.
pub const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// Names of flags. The process has one thread, so TSYNC has nothing to do.
pub const FLAGS: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", sys::SECCOMP_FILTER_FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", sys::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", sys::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
];

/// What takes privileges away behind a filter that is installed early, and gives the program what it begins with.
const NEEDED_LATER: [&str; 12] = [
    "prctl",
    "capset",
    "setresuid",
    "setresgid",
    "setgroups",
    "close_range",
    "close",
    "dup3",
    "chdir",
    "fchdir",
    "rt_sigaction",
    "rt_sigprocmask",
];

const EPERM: u32 = 1;
/// MAX_ERRNO of the kernel.
const MOST_ERRNO: u32 = 4095;

fn plan_early(planner: &mut Planner) -> Result<()> {
    if planner.spec.process().no_new_privileges { Ok(()) } else { plan(planner) }
}

fn plan_late(planner: &mut Planner) -> Result<()> {
    if !planner.spec.process().no_new_privileges {
        return Ok(());
    }
    let asks = |seccomp: &Seccomp| seccomp.syscalls.iter().any(|rule| rule.action == "SCMP_ACT_NOTIFY");
    if planner.spec.linux().seccomp.as_ref().is_some_and(asks) {
        // As with runc, the agent gets its listener from `create`.
        planner.phase = Phase::Bare;
    }
    plan(planner)
}

fn plan(planner: &mut Planner) -> Result<()> {
    if let Some(text) = annotations::find(planner.spec, annotations::SECCOMP_PROGRAM) {
        // The last one is installed last, and asked first.
        return text.split(',').try_for_each(|program| plan_program(planner, program));
    }
    let Some(seccomp) = &planner.spec.linux().seccomp else { return Ok(()) };
    let profile = profile(planner, seccomp)?;
    let notifies = profile.rules.iter().any(|rule| rule.action == Action::NOTIFY);
    if let Some(action) = profile.fate("execve").filter(|action| !action.is_permissive() && *action != Action::NOTIFY) {
        let errno = (action.0 & 0xffff) as u16;
        let name = ACTIONS.iter().find(|(_, with)| with(errno) == action).map_or("another", |(name, _)| name);
        return Err(planner
            .error(format!("execve is not allowed: its action is {name}"))
            .because("the program could not begin")
            .remedy("add a rule that allows execve"));
    }
    let pretends = |name: &&&str| {
        profile.rules.iter().any(|rule| rule.action == Action::errno(0) && rule.names.contains(*name))
            || profile.fate(name) == Some(Action::errno(0))
    };
    if !planner.spec.process().no_new_privileges
        && let Some(name) = NEEDED_LATER.iter().find(pretends)
    {
        return Err(planner
            .error(format!("{name} is answered as if it had been done"))
            .because("the filter is installed before privileges are dropped, as process.noNewPrivileges is false, and they would stay")
            .remedy("set process.noNewPrivileges to true: then the filter comes last; or let it have an error number"));
    }
    // umask(2) has no error: what a filter says would be taken for the mask before.
    let is_permissive = |action: Action| action.is_permissive() || action == Action::NOTIFY;
    if !planner.spec.process().no_new_privileges
        && planner.spec.process().user.umask.is_some()
        && !profile.fate("umask").is_some_and(is_permissive)
    {
        return Err(planner
            .error("umask is not allowed, and process.user.umask could not be set")
            .because("the filter is installed before, as process.noNewPrivileges is false")
            .remedy("allow umask, set process.noNewPrivileges to true: then the filter comes last; or leave process.user.umask out"));
    }
    let mut flags = flags(planner, seccomp, notifies)?;
    if notifies {
        plan_listener(planner, seccomp, &profile)?;
        flags |= sys::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    let too_many = |instructions: String| {
        Err(planner
            .error(format!("the filter has {instructions} instructions"))
            .because(format!("the kernel takes at most {}", sys::MOST_INSTRUCTIONS))
            .remedy("write fewer rules that look at arguments"))
    };
    // Each of these is one at least.
    let conditional = profile.rules.iter().filter(|rule| !rule.conditions.is_empty()).count();
    if conditional > sys::MOST_INSTRUCTIONS {
        return too_many(format!("more than {conditional}"));
    }
    let filter = profile.compile().into_boxed_slice();
    if filter.len() > sys::MOST_INSTRUCTIONS {
        return too_many(filter.len().to_string());
    }
    planner.step(PrivilegeStep::InstallFilter { filter, flags });
    Ok(())
}

/// A filter that somebody else has compiled: 8 bytes an instruction (struct sock_filter).
fn plan_program(planner: &mut Planner, text: &str) -> Result<()> {
    let wrong = |reason: &str| {
        Err(Error::in_config("annotations", format!("{} is no filter", annotations::SECCOMP_PROGRAM))
            .because(reason)
            .remedy("write base64 of a program for seccomp(2), or take it out"))
    };
    let Some(bytes) = base64(text) else { return wrong("it is not base64") };
    if bytes.is_empty() || bytes.len() % 8 != 0 || bytes.len() / 8 > sys::MOST_INSTRUCTIONS {
        return wrong("an instruction has 8 bytes, and there are 1 to 4096");
    }
    let instruction = |bytes: &[u8]| match *bytes {
        [c0, c1, jump_true, jump_false, k0, k1, k2, k3] => {
            let (code, operand) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
            Some(sys::Instruction { code, jump_true, jump_false, operand })
        }
        _ => None,
    };
    let filter = bytes.chunks(8).filter_map(instruction).collect();
    planner.step(PrivilegeStep::InstallFilter { filter, flags: sys::SECCOMP_FILTER_FLAG_SPEC_ALLOW });
    Ok(())
}

/// RFC 4648, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | LETTERS.iter().position(|known| *known == letter)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

fn profile<'a>(planner: &mut Planner<'a>, seccomp: &'a Seccomp) -> Result<Profile<'a>> {
    if seccomp.default_action.is_empty() {
        return Err(planner.error("defaultAction is missing").remedy("add \"defaultAction\": \"SCMP_ACT_ERRNO\""));
    }
    let default = action(planner, &seccomp.default_action, seccomp.default_errno_ret)?;
    if default == Action::NOTIFY {
        return Err(planner
            .error("defaultAction SCMP_ACT_NOTIFY")
            .because("the agent would be asked about the calls that reach it, too")
            .remedy("name the system calls in a rule with SCMP_ACT_NOTIFY"));
    }
    let mut architectures = vec![Architecture::native()];
    for name in &seccomp.architectures {
        let known: Vec<_> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
        let Some((_, architecture)) = ARCHITECTURES.iter().find(|(known, _)| known == name) else {
            return Err(planner
                .error(format!("architecture {name:?}"))
                .remedy(format!("write one of {}", known.join(", "))));
        };
        // One that cannot run here is never reported by the kernel.
        architectures.extend(architecture.filter(|architecture| architecture.runs_here()));
    }
    let mut rules = Vec::new();
    let property = planner.current.property;
    planner.current.property = "linux.seccomp.syscalls";
    planner.each(&seccomp.syscalls, |planner, rule| add_rules(planner, rule, &mut rules))?;
    planner.current.property = property;
    check_rules(planner, default, &rules)?;
    Ok(Profile { default, architectures, rules })
}

/// Refuses rules that contradict each other, and warns about denials that deny nothing.
fn check_rules(planner: &mut Planner, default: Action, rules: &[Rule]) -> Result<()> {
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.conditions.is_empty()) {
        let contradicts = |other: &&Rule| other.conditions == rule.conditions && other.action != rule.action;
        for other in rules.iter().take(index).filter(contradicts) {
            if let Some(name) = rule.names.iter().find(|name| other.names.contains(name)) {
                return Err(planner
                    .error(format!("two rules for {name} with the same arguments and different actions"))
                    .remedy("keep one of them in linux.seccomp.syscalls"));
            }
        }
    }
    // In an allow-list, a name that does not exist is nothing; in a list of what is denied, it is a hole.
    let denying = rules.iter().filter(|rule| default.is_permissive() && !rule.action.is_permissive());
    for name in denying.flat_map(|rule| &rule.names).filter(|name| !crate::seccomp::is_known(name)) {
        let warning = planner
            .error(format!("{name:?} is not a system call of this machine that rootlet knows, so nothing is denied"));
        planner.plan.warnings.push(warning);
    }
    Ok(())
}

fn action(planner: &Planner, name: &str, errno: Option<u32>) -> Result<Action> {
    let Some((_, action)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = ACTIONS.iter().map(|(name, _)| *name).collect();
        return Err(planner.error(format!("action {name:?}")).remedy(format!("write one of {}", known.join(", "))));
    };
    if errno.is_some() && !matches!(name, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") {
        // config-linux.md: an action without errno that is given one is an error.
        return Err(planner
            .error(format!("an errno for {name}"))
            .because("only SCMP_ACT_ERRNO and SCMP_ACT_TRACE have one")
            .remedy("leave errnoRet out"));
    }
    let errno = errno.unwrap_or(EPERM);
    if errno > MOST_ERRNO {
        return Err(planner.error(format!("errno {errno} is not from 0 to {MOST_ERRNO}")));
    }
    Ok(action(errno as u16))
}

fn add_rules<'a>(planner: &mut Planner<'a>, rule: &'a Syscall, rules: &mut Vec<Rule<'a>>) -> Result<()> {
    if rule.names.is_empty() {
        return Err(planner.error("names is missing or empty").remedy("add \"names\": [\"mount\"]"));
    }
    let action = action(planner, &rule.action, rule.errno_ret)?;
    if action == Action::NOTIFY && rule.names.iter().any(|name| name == "write") {
        return Err(planner
            .error("SCMP_ACT_NOTIFY for write")
            .because("whoever installs the filter could not report any more")
            .remedy("leave write out of names"));
    }
    let conditions: Vec<_> = rule.args.iter().map(|argument| condition(planner, argument)).collect::<Result<_>>()?;
    let mut names = Vec::with_capacity(rule.names.len());
    names.extend(rule.names.iter());
    let is_repeated =
        |condition: &Condition| conditions.iter().filter(|other| other.argument == condition.argument).count() > 1;
    if conditions.iter().any(is_repeated) {
        // As in runc: several conditions on one argument are alternatives, each of them alone.
        rules.extend(conditions.iter().map(|one| Rule { names: names.clone(), action, conditions: vec![*one] }));
    } else {
        rules.push(Rule { names, action, conditions });
    }
    Ok(())
}

fn condition(planner: &Planner, argument: &SyscallArgument) -> Result<Condition> {
    let Some(index) = u8::try_from(argument.index).ok().filter(|index| *index < 6) else {
        return Err(planner.error(format!("argument {}", argument.index)).remedy("a system call has arguments 0 to 5"));
    };
    let operator = match argument.op.as_str() {
        "SCMP_CMP_EQ" => Operator::Equal,
        "SCMP_CMP_GE" => Operator::GreaterOrEqual,
        "SCMP_CMP_GT" => Operator::Greater,
        "SCMP_CMP_LE" => Operator::LessOrEqual,
        "SCMP_CMP_LT" => Operator::Less,
        "SCMP_CMP_NE" => Operator::NotEqual,
        "SCMP_CMP_MASKED_EQ" => {
            let operator = Operator::MaskedEqual(argument.value);
            return Ok(Condition { argument: index, operator, value: argument.value_two });
        }
        other => {
            return Err(planner
                .error(format!("operator {other:?}"))
                .remedy(format!("write one of {}", OPERATORS.join(", "))));
        }
    };
    Ok(Condition { argument: index, operator, value: argument.value })
}

fn flags(planner: &Planner, seccomp: &Seccomp, notifies: bool) -> Result<u64> {
    // As runc: whoever does not say has the speculation mitigations of the host, not those of seccomp.
    let Some(names) = &seccomp.flags else { return Ok(sys::SECCOMP_FILTER_FLAG_SPEC_ALLOW) };
    let mut flags = 0;
    for name in names {
        let Some((_, flag)) = FLAGS.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = FLAGS.iter().map(|(name, _)| *name).collect();
            return Err(planner.error(format!("flag {name:?}")).remedy(format!("write one of {}", known.join(", "))));
        };
        flags |= flag;
    }
    if flags & sys::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0 && !notifies {
        return Err(planner
            .error("flag SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV without a rule with SCMP_ACT_NOTIFY")
            .because("it says how a call waits for the agent")
            .remedy("leave it out"));
    }
    Ok(flags)
}

/// The agent gets the listener from whoever created the container, who gets it from the filtered process.
fn plan_listener(planner: &mut Planner, seccomp: &Seccomp, profile: &Profile) -> Result<()> {
    let own = seccomp.listener_path.as_deref().filter(|path| !path.is_empty());
    let Some(path) = own.or(annotations::find(planner.spec, annotations::SECCOMP_RECEIVER)) else {
        return Err(planner
            .error("SCMP_ACT_NOTIFY without listenerPath")
            .because("nobody would answer")
            .remedy("add the socket of an agent as \"listenerPath\""));
    };
    if !path.starts_with('/') {
        return Err(planner.error(format!("listenerPath {path:?} is not absolute")).remedy("start it with /"));
    }
    for name in ["sendmsg", "recvmsg"] {
        if !profile.fate(name).is_some_and(|action| matches!(action, Action::ALLOW | Action::LOG)) {
            return Err(planner
                .error(format!("SCMP_ACT_NOTIFY, and {name} is not allowed"))
                .because("the filtered process hands its listener over by it")
                .remedy(format!("add a rule that allows {name}")));
        }
    }
    planner.plan.listener =
        Some(Listener { path: path.into(), metadata: seccomp.listener_metadata.clone().unwrap_or_default() });
    Ok(())
}
