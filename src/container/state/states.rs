//! Where states are kept: one directory, and in it one of each container.

use super::Container;
use super::directory::{CONFIG, Directory, START, STATE, c_path, draft};
use crate::error::{Error, Result, found};
use crate::host::{self, Host};
use crate::log::Log;
use crate::sys::{Errno, creds, fd, process};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Of a state's directory. It is sticky besides, which says that it is one before there is anything in it.
const MODE: u32 = 0o700;

/// A file name has 255 bytes, and one is needed while the state's directory is made.
const LONGEST_ID: usize = 254;

/// Of a directory in which users delete and rename only what is theirs (inode(7)).
const STICKY: u32 = 0o1000;

/// /proc/sys/kernel/overflowuid.
const OVERFLOW: u32 = 65534;

/// The directory of all states.
#[derive(Clone, Debug)]
pub struct States {
    path: PathBuf,
    explicit: bool,
    /// What $XDG_RUNTIME_DIR names, if that is somebody else's.
    passed_over: Option<PathBuf>,
}

impl States {
    /// The directory that `--root` names, or the default one. Nothing is made yet.
    pub fn new(explicit: Option<&Path>) -> Result<States> {
        let Some(path) = explicit else {
            let mut passed_over = None;
            let path = default_path(&mut passed_over)?;
            return Ok(States { path, explicit: false, passed_over });
        };
        let failed = |error: std::io::Error| Error::from_io(format!("--root {}", path.display()), &error);
        // Who names it may name it by a link, which is followed once; another user's would lead where that user likes.
        let path = path.components().as_path();
        let link = found(path.symlink_metadata()).map_err(failed)?.filter(|metadata| metadata.is_symlink());
        let is_link = link.is_some();
        if let Some(link) = link.filter(|link| ![0, creds::effective_uid()].contains(&link.uid())) {
            return Err(Error::new(format!("--root {} is another user's link", path.display()))
                .because(format!("it belongs to uid {}, who could let it lead elsewhere", link.uid()))
                .remedy("name the directory itself, or a link of your own"));
        }
        let canonical = found(host::canonicalize(path)).map_err(failed)?;
        if canonical.as_deref() == Some(Path::new("/")) {
            return Err(
                Error::new("--root / cannot hold states").remedy("name a directory such as --root /tmp/rootlet")
            );
        }
        // What was no link stays as it is named, and is opened as no link: somebody may have put one there since.
        let path = match canonical.filter(|_| is_link) {
            Some(path) => path,
            None => std::path::absolute(path).map_err(failed)?,
        };
        Ok(States { path, explicit: true, passed_over: None })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All directories of states that are known: this one, and the default one.
    pub fn all_known(&self) -> Result<Vec<PathBuf>> {
        if !self.explicit {
            return Ok(vec![self.path.clone()]);
        }
        let default = default_path(&mut None)?;
        Ok([self.path.clone()].into_iter().chain((default != self.path).then_some(default)).collect())
    }

    /// Makes the directory if it is missing, and refuses one that somebody else could have prepared.
    pub fn make(&self) -> Result<()> {
        let failed = |error: &std::io::Error| {
            let message = format!("cannot make the state directory {}", self.path.display());
            Error::from_io(message, error)
                .remedy("name one that you may write to with --root DIR, or set XDG_RUNTIME_DIR")
        };
        match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if !self.explicit => return self.check_owner(&metadata),
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
            if metadata.uid() == own && !metadata.is_dir() {
                return Err(Error::new(format!("the state directory {} is no directory", self.path.display()))
                    .remedy("remove what is in its place, or name another with --root DIR"));
            }
            return Err(Error::new(format!("the state directory {} is not yours alone", self.path.display()))
                .because(format!("it belongs to uid {} with mode {:o}", metadata.uid(), mode & 0o7777))
                .remedy("name another with --root DIR, or set XDG_RUNTIME_DIR"));
        }
        // States may do all anyway, and OVERFLOW is what a user namespace shows of who is not mapped.
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
        let remedy = match is_trusted {
            true => "name a directory of your own, or one with the sticky bit, as /tmp has (chmod +t); or take the others' permission away (chmod go-w)".to_owned(),
            false if uid == OVERFLOW => "name a directory of your own".to_owned(),
            false => format!("call this as its owner: `sudo -u '#{uid}' rootlet ...`; or name a directory of your own"),
        };
        Err(Error::new(format!("--root {}: others may put states there in the place of yours", self.path.display()))
            .because(format!("it belongs to {uid}:{gid} with mode {mode:o}"))
            .remedy(remedy))
    }

    /// The container of that id.
    pub fn find(&self, id: &str) -> Result<Container> {
        self.look_for(id)?.ok_or_else(|| self.missing(id))?.undamaged()
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
        let another = self.another().map_or(String::new(), |another| format!(", and {another}"));
        Error::new(format!("container does not exist: {id:?}"))
            .because(format!("{} has no such state{another}", self.path.display()))
            .remedy("see `rootlet list`; give the --root that it was created with")
    }

    /// Warns that states may be in another root, where nothing else would.
    pub fn warn_of_another(&self, log: &Log) {
        if let Some(another) = self.another() {
            log.warn(
                &Error::new(format!("states are looked for in {} alone", self.path.display()))
                    .because(another)
                    .remedy("unset XDG_RUNTIME_DIR, or let it name a directory of yours"),
            );
        }
    }

    fn another(&self) -> Option<String> {
        let path = self.passed_over.as_ref()?;
        Some(format!("{}, which $XDG_RUNTIME_DIR names, is somebody else's", path.display()))
    }

    /// The container of that id in the opened directory of all states.
    fn look_up(&self, shelf: BorrowedFd, id: &str) -> Result<Found> {
        let name = CString::new(id).unwrap_or_default();
        let Some(directory) = Directory::open_at(shelf, &name, self.path.join(id))? else { return Ok(Found::Nothing) };
        let path = directory.path().to_owned();
        let system = |error| Error::from_call(path.display(), error).remedy("try again");
        let open = || match found(directory.open_file(STATE, fd::O_RDONLY | fd::O_NONBLOCK | fd::O_NOCTTY)) {
            // A link is not followed, and a socket is no state.
            Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENXIO) => Ok(None),
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
                    .remedy(format!("see `ls -l {}`", path.display()));
                return Ok(Found::Foreign(refusal));
            }
            match status.links {
                1 => {}
                // It was replaced since it was opened.
                0 => return self.look_up(shelf, id),
                _ => {
                    let refusal = Error::new(format!("container {id:?} is not yours"))
                        .because("its state has another name elsewhere (a hard link)")
                        .remedy(format!("see who made it: `ls -li {}`", path.display()));
                    return Ok(Found::Foreign(refusal));
                }
            }
            let is_waiting = directory.has(START)?;
            let container = Container::load(id, directory, file, is_waiting)?;
            if container.damage.is_none() || container.directory.is_place()? {
                return Ok(Found::Own(Box::new(container)));
            }
            // Other runtimes' have another mode.
            let status = container.directory.status()?;
            let is_ours = status.mode & 0o777 == MODE && status.uid == creds::effective_uid();
            // Nor do others keep a config beside a state.
            let has_config = container.directory.has(CONFIG)?;
            return match container.damage.filter(|_| is_ours && has_config) {
                Some(damage) => Err(damage
                    .because("and there are other files than rootlet's in the directory")
                    .remedy(format!("see what is in {}, and move away what is not the container's", path.display()))),
                None => Ok(Found::Nothing),
            };
        }
        // Its maker was killed, or is at it, or it is none.
        let status = directory.status()?;
        if is_refused && status.uid == creds::effective_uid() {
            return Err(Error::new(format!("the state of container {id:?} cannot be read"))
                .because("somebody has changed the permissions of its directory, or of the files in it")
                .remedy(format!("give them back: chmod 700 {0}; chmod 600 {0}/*.json", path.display())));
        }
        if status.mode & 0o777 != MODE {
            return Ok(Found::Nothing);
        }
        if let Some(refusal) = refuse_state(id, status.uid, status.mode) {
            return Ok(Found::Foreign(refusal));
        }
        if !directory.is_place()? || status.mode & STICKY == 0 && !directory.has(CONFIG)? {
            return Ok(Found::Nothing);
        }
        let lock = directory.share_lock()?;
        if lock.is_none() && !directory.is_there()? {
            return Ok(Found::Nothing);
        }
        // Where nobody is at it, its maker may have come to its end since the state was looked for.
        if lock.is_some() && open().map_err(system)?.is_some() {
            return self.look_up(shelf, id);
        }
        let container = Container::without_state(id, directory, lock.is_none());
        Ok(Found::Own(Box::new(if lock.is_some() { container.reload()? } else { container })))
    }

    /// What could be ids of containers, in their order, if there is such a directory.
    fn listed(&self) -> Result<Option<Vec<String>>> {
        let failed = |error: std::io::Error| Error::from_io(format!("cannot read {}", self.path.display()), &error);
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| failed(error).remedy("correct --root"))?,
        };
        let names = entries.map(|entry| Ok(entry.map_err(failed)?.file_name().into_string().ok()));
        let mut ids: Vec<String> = names.filter_map(Result::transpose).collect::<Result<_>>()?;
        ids.retain(|id| check_id(id).is_ok());
        ids.sort();
        Ok(Some(ids))
    }

    /// What could be ids of containers, in their order. A missing directory has none.
    pub fn ids(&self) -> Result<Vec<String>> {
        self.listed().map(Option::unwrap_or_default)
    }

    /// All containers, by id, each read when it is asked for. A missing default directory has none.
    pub fn all(&self) -> Result<Box<dyn Iterator<Item = Result<Container>> + '_>> {
        let Some(ids) = self.listed()? else {
            if !self.explicit {
                return Ok(Box::new(std::iter::empty()));
            }
            let missing = std::io::Error::from_raw_os_error(Errno::ENOENT as i32);
            let error = Error::from_io(format!("cannot read {}", self.path.display()), &missing);
            return Err(error.remedy("correct --root"));
        };
        self.check()?;
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
    pub fn directory(&self, id: &str) -> PathBuf {
        self.path.join(id)
    }

    /// Takes an id for a new container: its directory, and the lock on it.
    pub fn reserve(&self, id: &str) -> Result<Reservation> {
        check_id(id)?;
        self.make()?;
        let path = self.path.join(id);
        // Whoever sees the directory finds it locked: it gets its name only then.
        let draft = draft(&path);
        let make = |made: &Path| match std::fs::DirBuilder::new().mode(MODE | STICKY).create(made) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                let message = format!("cannot make {}", path.display());
                Err(Error::from_io(message, &error).remedy("name a directory that you may write to with --root DIR"))
            }
            made => Ok(made.is_ok()),
        };
        let mut can_rename = true;
        loop {
            let made = if can_rename { &draft } else { &path };
            let is_new = make(made)?;
            let locked = Directory::open(made.clone()).and_then(|opened| match opened {
                // Whoever has a draft is about to give it its name, or to remove it.
                Some(directory) if can_rename => Ok(directory.wait_for_lock()?.ok_or(None)),
                Some(directory) => Ok(directory.lock()?.ok_or(Some(directory))),
                None => Ok(Err(None)),
            });
            let lock = match locked {
                Ok(Ok(lock)) => lock,
                // Another maker has it, or had it and is done.
                Ok(Err(Some(directory))) if directory.is_there()? => return Err(already_exists(id)),
                Ok(Err(_)) => match found(made.symlink_metadata()) {
                    Ok(Some(metadata)) if !metadata.is_dir() => return Err(is_in_the_way(made)),
                    Ok(_) => continue,
                    Err(error) => return Err(Error::from_io(made.display(), &error)),
                },
                Err(error) => return Err(error).inspect_err(|_| drop(is_new.then(|| std::fs::remove_dir(made)))),
            };
            // Opened before it has its name: what fails leaves nothing.
            let directory = Directory::open_at(lock.as_fd(), &c".".to_owned(), path.clone())
                .and_then(|opened| opened.ok_or_else(|| is_in_the_way(&path)))
                .inspect_err(|_| drop(is_new.then(|| std::fs::remove_dir(made))))?;
            if !can_rename {
                if is_new {
                    return Ok(Reservation { directory, lock });
                }
                drop(lock);
                self.clear(id, &path)?;
                continue;
            }
            if !is_new {
                // Of one whose deletion came to no end.
                let left = Directory::open(draft.clone())?;
                left.map_or(Ok(()), |left| left.empty())?;
            }
            let Err(error) = fd::rename_to_new(&c_path(&draft), &c_path(&path)) else {
                return Ok(Reservation { directory, lock });
            };
            let _ = std::fs::remove_dir(&draft);
            match error.errno {
                Errno::EEXIST => self.clear(id, &path)?,
                // The file system, or the kernel, has no such renaming.
                Errno::EINVAL | Errno::ENOSYS | Errno::EPERM => can_rename = false,
                _ => return Err(Error::from_call(path.display(), error)),
            }
        }
    }

    /// Ids of those that are called by `prefix` and the pid of their maker, which is gone: what there is of containers, and of drafts.
    pub fn left(&self, prefix: &str) -> Result<[Vec<String>; 2]> {
        let is_left = |id: &String| {
            let maker = id.strip_prefix(prefix).and_then(|rest| rest.split('-').next()?.parse().ok());
            maker.is_some_and(|maker| matches!(process::find_pidfd(maker), Ok(None)))
        };
        Ok([self.ids()?, self.drafts()?].map(|ids| ids.into_iter().filter(is_left).collect()))
    }

    /// Ids of which something is left, or being made, under another name.
    fn drafts(&self) -> Result<Vec<String>> {
        let failed = |error: std::io::Error| Error::from_io(format!("cannot read {}", self.path.display()), &error);
        let Some(entries) = found(std::fs::read_dir(&self.path)).map_err(failed)? else { return Ok(Vec::new()) };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names
            .filter_map(|name| name.strip_suffix('~').map(str::to_owned))
            .filter(|id| check_id(id).is_ok())
            .collect())
    }

    /// Removes what is left of an id that nobody has: its maker, or who deleted it, was killed.
    pub fn sweep(&self, id: &str) -> Result<()> {
        check_id(id)?;
        let Some(draft) = Directory::open(draft(&self.path.join(id)))? else { return Ok(()) };
        if let (Some(_lock), true) = (draft.lock()?, draft.is_place()?) {
            draft.empty()?;
            found(std::fs::remove_dir(draft.path())).map_err(|error| Error::from_io(draft.path().display(), &error))?;
        }
        Ok(())
    }

    /// Removes an id's directory, if its maker was killed before the container ran.
    fn clear(&self, id: &str, path: &Path) -> Result<()> {
        let Some(directory) = Directory::open(path.to_owned())? else {
            return match found(path.symlink_metadata()) {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(is_in_the_way(path)),
                Err(error) => Err(Error::from_io(path.display(), &error)),
            };
        };
        let Some(_lock) = directory.lock()? else {
            return if directory.is_there()? { Err(already_exists(id)) } else { Ok(()) };
        };
        let Some(container) = self.look_for(id)? else { return Err(is_in_the_way(path)) };
        // Nobody else is at it: the lock is held.
        if !container.reload()?.is_abandoned()? {
            return Err(already_exists(id));
        }
        container.forget()
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
    pub directory: Directory,
    /// Held while the container is created, and by a foreground `run` to its end.
    pub lock: OwnedFd,
}

fn already_exists(id: &str) -> Error {
    Error::new(format!("container with given ID already exists: {id:?}"))
        .remedy(format!("choose another id, or remove it with `rootlet delete {id}` (--force if it runs)"))
}

fn is_in_the_way(path: &Path) -> Error {
    Error::new(format!("{} is in the way", path.display()))
        .because("it holds other things than a container's state")
        .remedy("choose another id, or another --root")
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
fn default_path(passed_over: &mut Option<PathBuf>) -> Result<PathBuf> {
    let uid = creds::effective_uid();
    let run = if uid == 0 { PathBuf::from("/run") } else { PathBuf::from(format!("/run/user/{uid}")) };
    let named = dirs::runtime_dir();
    for path in named.iter().chain([&run]) {
        let is_others = match path.metadata() {
            Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => true,
            other => match found(other).map_err(|error| Error::from_io(path.display(), &error))? {
                Some(metadata) if metadata.uid() == uid && metadata.is_dir() => return Ok(path.join("rootlet")),
                metadata => metadata.is_some(),
            },
        };
        if is_others && Some(path) == named.as_ref() {
            *passed_over = named.clone();
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
