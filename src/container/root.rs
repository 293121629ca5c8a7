//! Where states are kept: one directory, and in it one of each container.

use super::state::{Container, FILES, PLACES, draft, remove_files};
use crate::error::{Error, Result, found};
use crate::host::Host;
use crate::sys::{Errno, creds, fd, resolve};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of a state's directory.
const MODE: u32 = 0o700;

/// A file name has 255 bytes, and one is needed while the state's directory is made.
const LONGEST_ID: usize = 254;

/// Of a directory in which users delete and rename only what is theirs (inode(7)).
const STICKY: u32 = 0o1000;

/// /proc/sys/kernel/overflowuid.
const OVERFLOW: u32 = 65534;

/// The directory of all states.
#[derive(Clone, Debug)]
pub struct Root {
    path: PathBuf,
    explicit: bool,
}

impl Root {
    /// The directory that `--root` names, or the default one. Nothing is made yet.
    pub fn new(explicit: Option<&Path>) -> Result<Root> {
        let Some(path) = explicit else { return Ok(Root { path: default_path()?, explicit: false }) };
        let failed = |error: std::io::Error| Error::from_io(format!("--root {}", path.display()), &error);
        if found(path.canonicalize()).map_err(failed)?.is_some_and(|path| path == Path::new("/")) {
            return Err(
                Error::new("--root / cannot hold states").remedy("name a directory such as --root /tmp/rootlet")
            );
        }
        Ok(Root { path: std::path::absolute(path).map_err(failed)?, explicit: true })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory if it is missing, and refuses one that somebody else could have prepared.
    pub fn make(&self) -> Result<()> {
        let failed = |error: &std::io::Error| {
            let message = format!("cannot make the state directory {}", self.path.display());
            Error::from_io(message, error)
                .remedy("name one that you may write to with --root DIR, or set XDG_RUNTIME_DIR")
        };
        match std::fs::symlink_metadata(&self.path) {
            Ok(_) => return self.check(),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&error)),
            Err(_) => {}
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(|error| failed(&error))?;
        // Somebody else may have been faster.
        self.check()?;
        if !self.explicit {
            // The XDG specification lets files be cleaned away unless they are sticky.
            let change = || open(&self.path).and_then(|directory| fd::chmod(directory.as_fd(), 0o1700));
            change().map_err(|error| Error::from_call(self.path.display(), error))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let metadata = if self.explicit { self.path.metadata() } else { self.path.symlink_metadata() };
        self.check_owner(
            &metadata.map_err(|error| Error::from_io(format!("state directory {}", self.path.display()), &error))?,
        )
    }

    /// A default directory must be one's own. One that the user names may be shared, as /tmp is: each state in it is 0700. But
    /// then it must be sticky, or others could put one state in the place of another.
    fn check_owner(&self, metadata: &std::fs::Metadata) -> Result<()> {
        let (own, mode) = (creds::effective_uid(), metadata.mode());
        if !self.explicit {
            if metadata.uid() == own && metadata.is_dir() && mode & 0o022 == 0 {
                return Ok(());
            }
            return Err(Error::new(format!("the state directory {} is not yours alone", self.path.display()))
                .because(format!("it belongs to uid {} with mode {:o}", metadata.uid(), mode & 0o7777))
                .remedy("name another with --root DIR, or set XDG_RUNTIME_DIR"));
        }
        // Root may do all anyway, and OVERFLOW is what a user namespace shows of who is not mapped.
        let is_trusted = match metadata.uid() {
            OVERFLOW => own == OVERFLOW || !Host::new()?.in_initial_user_namespace()?,
            uid => uid == own || uid == 0,
        };
        // A group of the user's own has the user's number; another primary group may have many members.
        let is_own_group = metadata.gid() == creds::effective_gid() && metadata.gid() == own;
        let is_shared = mode & 0o002 != 0 || mode & 0o020 != 0 && !is_own_group;
        if is_trusted && (!is_shared || mode & STICKY != 0) {
            return Ok(());
        }
        let (uid, gid, mode) = (metadata.uid(), metadata.gid(), mode & 0o7777);
        Err(Error::new(format!("--root {}: others may put states there in the place of yours", self.path.display()))
            .because(format!("it belongs to {uid}:{gid} with mode {mode:o}"))
            .remedy("name a directory of your own, or one with the sticky bit, as /tmp has (chmod +t); or take the others' permission away (chmod go-w)"))
    }

    /// The container of that id.
    pub fn find(&self, id: &str) -> Result<Container> {
        let container = self.look_for(id)?.ok_or_else(|| self.missing(id))?;
        match container.damage {
            Some(damage) => Err(damage),
            None => Ok(container),
        }
    }

    /// The container of that id, if there is one, and also if its state cannot be read.
    pub fn look_for(&self, id: &str) -> Result<Option<Container>> {
        check_id(id)?;
        let shelf = match open(&self.path) {
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            other => other.map_err(|error| Error::from_call(self.path.display(), error).remedy("correct --root"))?,
        };
        let found = self.look_up(shelf.as_fd(), id)?;
        self.check()?;
        match found {
            Found::Nothing => Ok(None),
            Found::Own(container) => Ok(Some(*container)),
            Found::Foreign(refusal) => Err(refusal),
        }
    }

    /// What is said of a container that there is not.
    pub fn missing(&self, id: &str) -> Error {
        Error::new(format!("container does not exist: {id:?}"))
            .because(format!("{} has no such state", self.path.display()))
            .remedy("see `rootlet list`; give the --root that it was created with")
    }

    /// The container of that id in the opened directory of all states.
    fn look_up(&self, shelf: BorrowedFd, id: &str) -> Result<Found> {
        let directory = self.path.join(id);
        let system = |error| Error::from_call(directory.display(), error).remedy("try again");
        let name = |file: &str| CString::new(format!("{id}{file}")).unwrap_or_default();
        let flags = fd::O_RDONLY | fd::O_NONBLOCK | fd::O_NOCTTY;
        let open = || match found(resolve::open_in_root_no_symlinks(shelf, &name("/state.json"), flags)) {
            // A link is not followed.
            Err(error) if error.errno == Errno::ELOOP => Ok(None),
            // Nor is a socket a state.
            Err(error) if error.errno == Errno::ENXIO => Ok(None),
            other => other,
        };
        let opened = open();
        let is_refused = opened.as_ref().is_err_and(|error| error.errno == Errno::EACCES);
        if let Some(file) = if is_refused { None } else { opened.map_err(system)? } {
            // A file of one's own with no other name was put there by oneself, whosever the directory is.
            let status = fd::status(file.as_fd()).map_err(system)?;
            if let Some(refusal) = refuse_state(id, status.uid, status.mode) {
                return Ok(Found::Foreign(refusal));
            }
            if !status.is_regular() {
                let refusal = Error::new(format!("the state of container {id:?} is no file"))
                    .because("a fifo or something else is in its place")
                    .remedy(format!("see `ls -l {}`", directory.display()));
                return Ok(Found::Foreign(refusal));
            }
            if status.links != 1 {
                let refusal = Error::new(format!("container {id:?} is not yours"))
                    .because("its state has another name elsewhere (a hard link)")
                    .remedy(format!("see who made it: `ls -li {}`", directory.display()));
                return Ok(Found::Foreign(refusal));
            }
            let is_waiting = fd::exists_at(shelf, &name("/start.sock")).map_err(system)?;
            let container = Container::load(id, directory, file, is_waiting)?;
            if container.damage.is_none() || is_place(&container.directory)? {
                return Ok(Found::Own(Box::new(container)));
            }
            // Other runtimes' have another mode.
            let place = std::fs::symlink_metadata(&container.directory);
            let place = found(place).map_err(|error| Error::from_io(container.directory.display(), &error))?;
            let is_ours =
                place.is_some_and(|place| place.mode() & 0o777 == MODE && place.uid() == creds::effective_uid());
            // Nor do others keep a config beside a state.
            let has_config = exists(&container.directory.join("config.json"))?;
            return match container.damage.filter(|_| is_ours && has_config) {
                Some(damage) => {
                    Err(damage.because("and there are other files than rootlet's in the directory").remedy(format!(
                        "see what is in {}, and move away what is not the container's",
                        container.directory.display()
                    )))
                }
                None => Ok(Found::Nothing),
            };
        }
        // Its maker was killed, or is at it, or it is none.
        match fd::open_at(shelf, &name(""), fd::O_PATH | fd::O_DIRECTORY | fd::O_NOFOLLOW, 0) {
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(Found::Nothing),
            opened => {
                let status = opened.and_then(|opened| fd::status(opened.as_fd())).map_err(system)?;
                if is_refused && status.uid == creds::effective_uid() {
                    return Err(Error::new(format!("the state of container {id:?} cannot be read"))
                        .because("somebody has changed the permissions of its directory, or of the files in it")
                        .remedy(format!("give them back: chmod 700 {0}; chmod 600 {0}/*.json", directory.display())));
                }
                if status.mode & 0o777 != MODE {
                    return Ok(Found::Nothing);
                }
                if let Some(refusal) = refuse_state(id, status.uid, status.mode) {
                    return Ok(Found::Foreign(refusal));
                }
                if !is_place(&directory)? {
                    return Ok(Found::Nothing);
                }
                let lock = lock_by(&directory, fd::try_share_lock)?;
                if lock.is_none() && !exists(&directory)? {
                    return Ok(Found::Nothing);
                }
                // Where nobody is at it, its maker may have come to its end since the state was looked for.
                if lock.is_some() && open().map_err(system)?.is_some() {
                    return self.look_up(shelf, id);
                }
                let container = Container::without_state(id, directory, lock.is_none());
                Ok(Found::Own(Box::new(if lock.is_some() { container.reload()? } else { container })))
            }
        }
    }

    /// All containers, by id, each read when it is asked for. A missing default directory has none.
    pub fn all(&self) -> Result<Box<dyn Iterator<Item = Result<Container>> + '_>> {
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.explicit => {
                return Ok(Box::new(std::iter::empty()));
            }
            other => other.map_err(|error| {
                Error::from_io(format!("cannot read {}", self.path.display()), &error).remedy("correct --root")
            })?,
        };
        self.check()?;
        let failed = |error: std::io::Error| Error::from_io(format!("cannot read {}", self.path.display()), &error);
        let names = entries.map(|entry| Ok(entry.map_err(failed)?.file_name().into_string().ok()));
        let mut ids: Vec<String> = names.filter_map(Result::transpose).collect::<Result<_>>()?;
        ids.retain(|id| check_id(id).is_ok());
        ids.sort();
        let shelf = open(&self.path).map_err(|error| Error::from_call(self.path.display(), error))?;
        let look_up = move |id: String| match self.look_up(shelf.as_fd(), &id) {
            Ok(Found::Own(container)) => Some(Ok(*container)),
            // It may be gone by now; and in a shared directory, others' are none of the caller's business.
            Ok(Found::Nothing | Found::Foreign(_)) => None,
            Err(error) => Some(Err(error)),
        };
        Ok(Box::new(ids.into_iter().filter_map(look_up)))
    }

    /// Where the state of that container is.
    pub fn place(&self, id: &str) -> PathBuf {
        self.path.join(id)
    }

    /// Takes an id for a new container: its directory, and the lock on it.
    pub fn reserve(&self, id: &str) -> Result<Reservation> {
        check_id(id)?;
        self.make()?;
        let directory = self.path.join(id);
        // Whoever sees the directory finds it locked: it gets its name only then.
        let draft = draft(&directory);
        let make = |place: &Path| match std::fs::DirBuilder::new().mode(MODE).create(place) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                let message = format!("cannot make {}", directory.display());
                Err(Error::from_io(message, &error).remedy("name a directory that you may write to with --root DIR"))
            }
            made => Ok(made.is_ok()),
        };
        loop {
            let is_new = make(&draft)?;
            let lock = match lock(&draft) {
                Ok(Some(lock)) => lock,
                // Another maker has it, or had it and is done.
                Ok(None) if !exists(&draft)? => continue,
                Ok(None) => return Err(already_exists(id)),
                Err(error) => return Err(error).inspect_err(|_| drop(std::fs::remove_dir(&draft))),
            };
            if !is_new {
                // Of one whose deletion came to no end.
                remove_files(&draft);
            }
            let renamed = fd::rename_to_new(&c_path(&draft), &c_path(&directory));
            let Err(error) = renamed else { return Ok(Reservation { directory, lock }) };
            let _ = std::fs::remove_dir(&draft);
            match error.errno {
                Errno::EEXIST => return self.reclaim(id, directory),
                // The file system, or the kernel, has no such renaming.
                Errno::EINVAL | Errno::ENOSYS | Errno::EPERM => {
                    return make(&directory).and_then(|_| self.reclaim(id, directory));
                }
                _ => return Err(Error::from_call(directory.display(), error)),
            }
        }
    }

    /// Removes what is left of an id that nobody has: its maker, or who deleted it, was killed.
    pub fn sweep(&self, id: &str) -> Result<()> {
        check_id(id)?;
        let draft = draft(&self.path.join(id));
        if let (Some(_lock), true) = (lock(&draft)?, is_place(&draft)?) {
            remove_files(&draft);
            found(std::fs::remove_dir(&draft)).map_err(|error| Error::from_io(draft.display(), &error))?;
        }
        Ok(())
    }

    /// An id whose maker was killed before the container ran is free again.
    fn reclaim(&self, id: &str, directory: PathBuf) -> Result<Reservation> {
        let lock = match lock(&directory)? {
            Some(lock) => lock,
            None if exists(&directory)? => return Err(already_exists(id)),
            // It was deleted meanwhile.
            None => return self.reserve(id),
        };
        let Some(container) = self.look_for(id)? else {
            return Err(Error::new(format!("{} is in the way", directory.display()))
                .because("it holds other things than a container's state")
                .remedy("choose another id, or another --root"));
        };
        // Nobody else is at it: the lock is held.
        if !container.reload()?.is_abandoned()? {
            return Err(already_exists(id));
        }
        container.forget_all_but_its_place()?;
        Ok(Reservation { directory, lock })
    }
}

/// What is there by an id.
enum Found {
    /// No container.
    Nothing,
    /// One that nobody else can have written.
    Own(Box<Container>),
    /// What nobody's rootlet has written, or another user's, and what is said of it.
    Foreign(Error),
}

/// A directory with its lock, which is held as long as this lives.
#[derive(Debug)]
pub struct Reservation {
    /// The state's directory.
    pub directory: PathBuf,
    /// Held while the container is created, and by a foreground `run` to its end.
    pub lock: OwnedFd,
}

fn already_exists(id: &str) -> Error {
    Error::new(format!("container with given ID already exists: {id:?}"))
        .remedy(format!("choose another id, or remove it with `rootlet delete {id}` (--force if it runs)"))
}

/// The lock of a state directory; `None` if somebody has it, or if the directory was removed meanwhile.
pub fn lock(directory: &Path) -> Result<Option<OwnedFd>> {
    // Whoever looks whether it is locked has a part in it for a moment.
    for _ in 0..10 {
        match lock_by(directory, fd::try_lock)? {
            None if exists(directory)? => std::thread::sleep(Duration::from_millis(1)),
            lock => return Ok(lock),
        }
    }
    Ok(None)
}

/// Waits for one's turn to change a container that runs: its limits, whether it is paused, or what gets a signal while it is frozen.
/// (A foreground run has the lock of the state to its end.) Where there is no room for the lock, nobody waits for anybody.
pub fn take_turn(container: &Container) -> Result<Option<OwnedFd>> {
    let Some(file) = open_lock(container, TURN)? else { return Ok(None) };
    let start = Instant::now();
    while !fd::try_lock(file.as_fd()).map_err(|error| Error::from_call(TURN, error))? {
        if start.elapsed() > PATIENCE {
            return Err(Error::new(format!("container {:?} is being changed", container.id))
                .because("another update, pause, resume or kill --all of it takes longer than 10 s")
                .remedy("try again when that is over"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Some(file))
}

/// A file for a lock in the state's directory, which is made if there is room.
pub fn open_lock(container: &Container, name: &str) -> Result<Option<OwnedFd>> {
    let path = c_path(&container.directory.join(name));
    match fd::open(&path, fd::O_WRONLY | fd::O_CREAT, 0o600) {
        Err(error) if matches!(error.errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EACCES) => Ok(None),
        other => other.map(Some).map_err(|error| Error::from_call(container.directory.join(name).display(), error)),
    }
}

/// Whose turn it is has a lock on this.
pub const TURN: &str = "update.lock";

/// Whether there is a state directory.
pub fn exists(directory: &Path) -> Result<bool> {
    directory.try_exists().map_err(|error| Error::from_io(directory.display(), &error))
}

/// How long whoever has a lock may have it: hooks run meanwhile, and one of them may be who waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lock of a state directory, when it is free; `None` if the directory was removed meanwhile.
pub fn wait_for_lock(directory: &Path) -> Result<Option<OwnedFd>> {
    let start = Instant::now();
    loop {
        match lock(directory)? {
            None if !exists(directory)? => return Ok(None),
            None if start.elapsed() > PATIENCE => {
                let place = directory.display();
                return Err(Error::new(format!("{place} is locked"))
                    .because("a process creates the container, runs it or takes it down, and one of its hooks may take its time")
                    .remedy(format!("wait, or end that process (`fuser {place}`)")));
            }
            None => {}
            lock => return Ok(lock),
        }
    }
}

fn lock_by(directory: &Path, take: fn(BorrowedFd) -> crate::sys::Result<bool>) -> Result<Option<OwnedFd>> {
    let system = |error| Error::from_call(directory.display(), error);
    let Some(fd) = found(open(directory)).map_err(system)? else { return Ok(None) };
    let status = fd::status(fd.as_fd()).map_err(system)?;
    if status.uid != creds::effective_uid() || status.mode & 0o022 != 0 {
        // In a shared directory, others could make it first: what is written there would go where they want.
        return Err(Error::new(format!("{} is not yours", directory.display()))
            .because(format!("it belongs to uid {} with mode {:o}", status.uid, status.mode & 0o7777))
            .remedy("choose another id, or another --root"));
    }
    let is_taken = take(fd.as_fd()).map_err(system)?;
    // Another container's may be in its place by now.
    let own = status.inode;
    let now = found(directory.symlink_metadata()).map_err(|error| Error::from_io(directory.display(), &error))?;
    let is_same = now.is_some_and(|now| now.ino() == own);
    Ok((is_taken && is_same).then_some(fd))
}

/// Whether there is nothing in a directory but what belongs to a state: a wrong --root, as /etc, is not full of containers.
fn is_place(directory: &Path) -> Result<bool> {
    let failed = |error: std::io::Error| Error::from_io(directory.display(), &error);
    let is_known = |name: &OsStr| FILES.iter().chain(&PLACES).any(|known| name == *known);
    let Some(mut entries) = found(std::fs::read_dir(directory)).map_err(failed)? else { return Ok(false) };
    entries.try_fold(true, |all, entry| Ok(all && is_known(&entry.map_err(failed)?.file_name())))
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

fn open(directory: &Path) -> crate::sys::Result<OwnedFd> {
    fd::open(&c_path(directory), fd::O_RDONLY | fd::O_DIRECTORY | fd::O_NOFOLLOW, 0)
}

/// A state says which processes are killed and which hooks are run, so nobody else may have written it.
fn refuse_state(id: &str, uid: u32, mode: u32) -> Option<Error> {
    if uid == creds::effective_uid() && mode & 0o022 == 0 {
        return None;
    }
    let refusal = Error::new(format!("container {id:?} is not yours"))
        .because(format!("its state belongs to uid {uid} with mode {:o}", mode & 0o7777))
        .remedy("run this command as that user, or name your own --root");
    Some(refusal)
}

/// runc's rule for ids, and a length that a file name can have.
fn check_id(id: &str) -> Result<()> {
    let valid = !id.is_empty()
        && id.len() <= LONGEST_ID
        && !matches!(id, "." | "..")
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte));
    if valid {
        return Ok(());
    }
    Err(Error::new(format!("invalid container ID format: {id:?}"))
        .because(format!("an id has letters, digits and _ + . - only, at most {LONGEST_ID}, and is not . or .."))
        .remedy("choose a name such as box-1"))
}

/// What a uid is outside of the caller's user namespace: many are root in one of their own, and all share /tmp.
fn outer_uid(uid: u32) -> Result<u32> {
    let path = "/proc/self/uid_map";
    let map = found(std::fs::read_to_string(path)).map_err(|error| Error::from_io(path, &error))?;
    Ok(map.as_deref().and_then(|map| translate(map, uid)).unwrap_or(uid))
}

/// What a map of user_namespaces(7) makes of an id: lines of the first id inside, the first one outside, and how many.
fn translate(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let distance = id.checked_sub(inside).filter(|distance| *distance < count)?;
        outside.checked_add(distance)
    })
}

/// `$XDG_RUNTIME_DIR/rootlet`, `/run/rootlet` for root, `/run/user/UID/rootlet`, or a directory of one's own below the
/// temporary one. One that somebody else owns, as after `su`, is passed over.
fn default_path() -> Result<PathBuf> {
    let uid = creds::effective_uid();
    let run = if uid == 0 { PathBuf::from("/run") } else { PathBuf::from(format!("/run/user/{uid}")) };
    for path in dirs::runtime_dir().into_iter().chain([run]) {
        let metadata = match path.metadata() {
            // Somebody else's.
            Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => None,
            other => found(other).map_err(|error| Error::from_io(path.display(), &error))?,
        };
        if metadata.is_some_and(|metadata| metadata.uid() == uid && metadata.is_dir()) {
            return Ok(path.join("rootlet"));
        }
    }
    Ok(std::env::temp_dir().join(format!("rootlet-{}", outer_uid(uid)?)))
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn an_id_is_translated_by_the_map_of_its_namespace() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        for (inside, outside) in [(0, Some(1000)), (1, Some(100_000)), (65_536, Some(165_535)), (65_537, None)] {
            assert_eq!(translate(map, inside), outside);
        }
        assert_eq!(translate("0 0 4294967295\n", 1000), Some(1000));
        assert_eq!(translate("no map", 0), None);
    }
}
