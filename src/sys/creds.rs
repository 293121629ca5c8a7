//! Who the process is: ids, groups, capabilities, securebits.

use super::{Call, Errno, Error, Result, syscall};

/// Effective user id of this process.
pub fn effective_uid() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Effective group id of this process.
pub fn effective_gid() -> u32 {
    // SAFETY: getegid takes nothing and cannot fail.
    unsafe { libc::getegid() }
}

/// setresuid(2) of all three ids, as the bare system call: libc's would signal threads that a clone does not have.
pub fn set_uid(uid: u32) -> Result<()> {
    syscall!(Call::Setuid, libc::SYS_setresuid, uid, uid, uid).map(drop)
}

/// setresgid(2) of all three ids.
pub fn set_gid(gid: u32) -> Result<()> {
    syscall!(Call::Setgid, libc::SYS_setresgid, gid, gid, gid).map(drop)
}

/// setgroups(2).
pub fn set_groups(groups: &[u32]) -> Result<()> {
    syscall!(Call::Setgroups, libc::SYS_setgroups, groups.len(), groups.as_ptr()).map(drop)
}

/// What umask(2) is.
pub fn umask() -> u32 {
    let mask = set_umask(0o077);
    set_umask(mask);
    mask
}

/// umask(2); what it was.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: umask takes a number and cannot fail.
    unsafe { libc::umask(mask as libc::mode_t) }
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const VERSION_3: u32 = 0x2008_0522;

/// capset(2) of this thread; bit n is capability n.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let low = |set: u64| set as u32;
    let high = |set: u64| (set >> 32) as u32;
    let sets = [low(effective), low(permitted), low(inheritable), high(effective), high(permitted), high(inheritable)];
    syscall!(Call::Capset, libc::SYS_capset, &raw const header, sets.as_ptr()).map(drop)
}

/// The effective capabilities of this thread (capget(2)).
pub fn effective_capabilities() -> Result<u64> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [0u32; 6];
    syscall!(Call::Capget, libc::SYS_capget, &raw const header, sets.as_mut_ptr())?;
    Ok(u64::from(sets[0]) | u64::from(sets[3]) << 32)
}

/// Drops every capability that is not in `keep` from the bounding set.
pub fn limit_bounding_set(keep: u64) -> Result<()> {
    for capability in 0..64 {
        if keep & 1 << capability != 0 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            // The first number that this kernel does not know.
            Err(Error { errno: Errno::EINVAL, .. }) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Replaces the ambient set (capabilities(7)).
pub fn set_ambient(ambient: u64) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for capability in (0..64).filter(|capability| ambient & 1 << capability != 0) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability)?;
    }
    Ok(())
}

/// Keeps the permitted set over the next change of the uid.
pub fn keep_capabilities() -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)
}

/// What `ps` calls this thread (prctl(2), PR_SET_NAME): at most 15 bytes.
pub fn set_name(name: &core::ffi::CStr) -> Result<()> {
    syscall!(Call::Prctl, libc::SYS_prctl, libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0).map(drop)
}

/// How late a timer of this thread, and of those that come from it, may be (prctl(2), PR_SET_TIMERSLACK).
pub fn set_timer_slack(nanoseconds: u64) -> Result<()> {
    syscall!(Call::Prctl, libc::SYS_prctl, libc::PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0).map(drop)
}

/// PR_SET_NO_NEW_PRIVS.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// PR_SET_DUMPABLE: without it, nobody of the same uid may trace this process or read its descriptors.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, dumpable.into(), 0)
}

/// PR_GET_DUMPABLE.
pub fn is_dumpable() -> Result<bool> {
    syscall!(Call::Prctl, libc::SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0).map(|dumpable| dumpable == 1)
}

/// Sends SIGKILL to this process when its parent dies; cleared by the kernel when ids change.
pub fn die_with_parent(die: bool) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, if die { libc::SIGKILL as u64 } else { 0 }, 0)
}

/// Has the kernel send a signal to this process when the thread that made it ends.
pub fn hear_of_parents_end(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as u64, 0)
}

/// PR_SET_CHILD_SUBREAPER.
pub fn become_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0)
}

fn prctl(option: i32, first: u64, second: u64) -> Result<()> {
    syscall!(Call::Prctl, libc::SYS_prctl, option, first, second, 0, 0).map(drop)
}

/// Joins a new session keyring (keyctl(2)). It has no name of its own: one by its name may be there already, made by
/// somebody else.
pub fn join_new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    syscall!(Call::Keyctl, libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, core::ptr::null::<u8>()).map(drop)
}

/// Puts every permitted capability in force again, after [`set_uid`] with [`keep_capabilities`].
pub fn regain_capabilities() -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [0u32; 6];
    syscall!(Call::Capget, libc::SYS_capget, &raw const header, sets.as_mut_ptr())?;
    let [_, permitted_low, inheritable_low, _, permitted_high, inheritable_high] = sets;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let permitted = join(permitted_low, permitted_high);
    set_capabilities(permitted, permitted, join(inheritable_low, inheritable_high))
}
