//! The options of a mount: one table from names to flags.

use super::super::propagation;
use crate::plan::step::trees::Attributes;
use crate::sys::mount::*;

/// In front of the numbers of a file that a bind must be of.
const INODE: &str = "rootlet.inode=";

/// What the options of one mount ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `bind` or `rbind`; the value says whether all below is bound, too.
    pub bind: Option<bool>,
    /// `remount`: change what is mounted there.
    pub remount: bool,
    /// MS_* flags of a new mount.
    pub flags: u64,
    /// MOUNT_ATTR_* to set on the mount alone, and to clear.
    pub set: u64,
    /// See `set`.
    pub clear: u64,
    /// MOUNT_ATTR_* to set on the mount and all below it, and to clear.
    pub set_recursively: u64,
    /// See `set_recursively`.
    pub clear_recursively: u64,
    /// Propagation types, in their order.
    pub propagation: Vec<u64>,
    /// What the file system itself takes.
    pub data: Vec<String>,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` or `ridmap`; the value says whether all below is mapped, too.
    pub id_mapped: Option<bool>,
    /// What follows `idmap=`.
    pub id_maps: Option<String>,
    /// What is for other programs than a runtime, and ignored.
    pub foreign: Vec<String>,
    /// `copy-symlink`: a source that is a symlink is made anew.
    pub copy_symlink: bool,
    /// `src-nofollow`: a source that is a symlink is bound itself.
    pub source_itself: bool,
    /// `rootlet.inode=DEVICE:INODE`: the source is that file, or it is not bound.
    pub inode: Option<(u64, u64)>,
    /// `dest-nofollow`: a destination that is a symlink is mounted over itself.
    pub target_itself: bool,
}

/// Name, MS_ flag, MOUNT_ATTR_ flags, and whether the option clears them. A name with an `r` in front is recursive.
const FLAGS: &[(&str, u64, u64, bool)] = &[
    ("ro", MS_RDONLY, MOUNT_ATTR_RDONLY, false),
    ("rw", MS_RDONLY, MOUNT_ATTR_RDONLY, true),
    ("nosuid", MS_NOSUID, MOUNT_ATTR_NOSUID, false),
    ("suid", MS_NOSUID, MOUNT_ATTR_NOSUID, true),
    ("nodev", MS_NODEV, MOUNT_ATTR_NODEV, false),
    ("dev", MS_NODEV, MOUNT_ATTR_NODEV, true),
    ("noexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, false),
    ("exec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, true),
    ("nosymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, false),
    ("symfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, true),
    ("nodiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, false),
    ("diratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, true),
    ("noatime", MS_NOATIME, MOUNT_ATTR_NOATIME, false),
    ("atime", MS_NOATIME, MOUNT_ATTR_NOATIME, true),
    ("relatime", MS_RELATIME, MOUNT_ATTR_RELATIME, false),
    ("norelatime", MS_RELATIME, MOUNT_ATTR_RELATIME, true),
    ("strictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, false),
    ("nostrictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, true),
];

/// Flags of the file system, which a bind does not have.
const SUPERBLOCK_FLAGS: &[(&str, u64, bool)] = &[
    ("sync", MS_SYNCHRONOUS, false),
    ("async", MS_SYNCHRONOUS, true),
    ("dirsync", MS_DIRSYNC, false),
    ("mand", MS_MANDLOCK, false),
    ("nomand", MS_MANDLOCK, true),
    ("lazytime", MS_LAZYTIME, false),
    ("nolazytime", MS_LAZYTIME, true),
    ("iversion", MS_I_VERSION, false),
    ("noiversion", MS_I_VERSION, true),
    ("acl", MS_POSIXACL, false),
    ("noacl", MS_POSIXACL, true),
    ("silent", MS_SILENT, false),
    ("loud", MS_SILENT, true),
];

/// The known option that a text comes next to, if it is near.
pub fn similar(text: &str) -> Option<String> {
    let recursive = FLAGS.iter().map(|(name, ..)| format!("r{name}"));
    let plain = FLAGS.iter().map(|(name, ..)| (*name).to_owned());
    let others = [
        "bind",
        "rbind",
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
        "idmap",
        "ridmap",
    ];
    let all = plain.chain(recursive).chain(others.map(str::to_owned));
    let nearest = all.min_by_key(|known| strsim::damerau_levenshtein(known, text))?;
    (strsim::damerau_levenshtein(&nearest, text) <= 2).then_some(nearest)
}

/// Reads the options of a mount.
pub fn parse<'a>(options: impl IntoIterator<Item = &'a String>) -> Options {
    let mut parsed = Options::default();
    for option in options {
        parsed.add(option);
    }
    parsed
}

impl Options {
    /// True if what is mounted or covered may be a symlink itself.
    pub fn means_symlinks(&self) -> bool {
        self.source_itself || self.target_itself
    }

    /// What is changed of a bind's copy before it is attached.
    pub fn attributes(&self) -> Box<[Attributes]> {
        let mut all = Vec::new();
        for (set, clear, recursive) in
            [(self.set, self.clear, false), (self.set_recursively, self.clear_recursively, true)]
        {
            if set | clear != 0 {
                all.push(Attributes { set, clear, propagation: 0, recursive });
            }
        }
        all.extend(propagations(&self.propagation));
        if self.propagation.is_empty() && (self.set | self.set_recursively) & MOUNT_ATTR_RDONLY != 0 {
            // What the host mounts below it later would come along, and be writable.
            all.push(Attributes { propagation: MS_PRIVATE, recursive: true, ..Attributes::default() });
        }
        all.into_boxed_slice()
    }

    /// MS_* flags of a new mount, which has nothing below it: what is for all below is for itself.
    pub fn flags_of_new(&self) -> u64 {
        let mut flags = self.flags;
        for (_, flag, attributes, clears) in FLAGS {
            // Access times are one field of several values, of which relatime is the default.
            let is_meant = |mask: u64| *attributes != 0 && mask & attributes == *attributes;
            match clears {
                false if is_meant(self.set_recursively) => flags |= flag,
                true if is_meant(self.clear_recursively) && !is_meant(self.set_recursively) => flags &= !flag,
                _ => {}
            }
        }
        flags
    }

    fn add(&mut self, option: &str) {
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_mapped = Some(self.id_mapped.unwrap_or(false)),
            "ridmap" => self.id_mapped = Some(true),
            "copy-symlink" => self.copy_symlink = true,
            known if known.starts_with(INODE) => {
                let numbers = known.get(INODE.len()..).and_then(|rest| rest.split_once(':'));
                // What is wrong is no file's.
                self.inode = Some(
                    numbers.map_or((0, 0), |(device, inode)| (device.parse().unwrap_or(0), inode.parse().unwrap_or(0))),
                );
            }
            "src-nofollow" => self.source_itself = true,
            "dest-nofollow" => self.target_itself = true,
            "defaults" | "" => {}
            _ if FOREIGN.contains(&option) || option.starts_with("x-") || option.starts_with("X-") => {
                self.foreign.push(option.to_owned());
            }
            _ if option.starts_with("idmap=") || option.starts_with("ridmap=") => {
                let (name, maps) = option.split_once('=').unwrap_or_default();
                self.id_mapped = Some(name == "ridmap");
                self.id_maps = Some(maps.to_owned());
            }
            _ => {
                if let Some(propagation) = propagation::flags(option) {
                    self.propagation.push(propagation);
                } else if let Some((_, flag, attributes, clears)) = FLAGS.iter().find(|(name, ..)| *name == option) {
                    change(&mut self.flags, *flag, *clears);
                    change_attributes(&mut self.set, &mut self.clear, *attributes, *clears);
                } else if let Some((_, flag, clears)) = SUPERBLOCK_FLAGS.iter().find(|(name, ..)| *name == option) {
                    change(&mut self.flags, *flag, *clears);
                } else if let Some((_, _, attributes, clears)) =
                    FLAGS.iter().find(|(name, ..)| option.strip_prefix('r') == Some(name))
                {
                    change_attributes(&mut self.set_recursively, &mut self.clear_recursively, *attributes, *clears);
                } else {
                    self.data.push(option.to_owned());
                }
            }
        }
    }
}

/// MOUNT_ATTR_* for MS_* flags.
pub fn attributes_of(flags: u64) -> u64 {
    let set = FLAGS.iter().filter(|(_, flag, _, clears)| !clears && flags & flag != 0);
    set.fold(0, |all, (_, _, attributes, _)| all | attributes)
}

/// Names of those MS_* flags that fsconfig(2) takes as keys.
pub fn superblock_keys(flags: u64) -> Vec<&'static str> {
    let known = [("sync", MS_SYNCHRONOUS), ("dirsync", MS_DIRSYNC), ("mand", MS_MANDLOCK), ("lazytime", MS_LAZYTIME)];
    known.into_iter().chain([("ro", MS_RDONLY)]).filter(|(_, flag)| flags & flag != 0).map(|(name, _)| name).collect()
}

/// The last word on access times counts: the kernel takes one.
fn change(flags: &mut u64, flag: u64, clears: bool) {
    const TIMES: u64 = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
    if clears {
        *flags &= !flag;
    } else {
        *flags = *flags & !(if flag & TIMES == 0 { 0 } else { TIMES }) | flag;
    }
}

/// The last word on an attribute counts. Access times are one field of several values: setting one clears the field.
fn change_attributes(set: &mut u64, clear: &mut u64, attributes: u64, clears: bool) {
    const TIMES: u64 = MOUNT_ATTR_RELATIME | MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME;
    // MOUNT_ATTR_RELATIME is 0, so an option without bits is about access times, too.
    if attributes == 0 || attributes & TIMES != 0 {
        *clear |= MOUNT_ATTR__ATIME;
        *set = *set & !TIMES | if clears { MOUNT_ATTR_RELATIME } else { attributes };
    } else if clears {
        *set &= !attributes;
        *clear |= attributes;
    } else {
        *set |= attributes;
        *clear &= !attributes;
    }
}

/// What engines and mount(8) have for themselves, and may pass on: whether a volume is filled first, how fresh it is to be on a
/// desktop's virtual machine, and when systemd mounts a line of fstab. Those with `x-` in front are theirs by convention.
const FOREIGN: [&str; 10] =
    ["nocopy", "copy", "volume-nocopy", "consistent", "cached", "delegated", "noauto", "auto", "nofail", "_netdev"];

/// What is neither a flag nor of a file system, without propagation types.
const OTHERS: [&str; 10] = [
    "bind",
    "rbind",
    "remount",
    "defaults",
    "tmpcopyup",
    "idmap",
    "ridmap",
    "copy-symlink",
    "src-nofollow",
    "dest-nofollow",
];

/// Every option that rootlet itself knows, for `features`.
pub fn names() -> Vec<String> {
    let flags = FLAGS.iter().flat_map(|(name, ..)| [(*name).to_owned(), format!("r{name}")]);
    let superblock = SUPERBLOCK_FLAGS.iter().map(|(name, ..)| (*name).to_owned());
    let others = OTHERS.iter().map(|name| (*name).to_owned());
    let types = propagation::NAMES.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("r{name}")]);
    let mut names: Vec<_> = flags.chain(superblock).chain(others).chain(types).collect();
    names.sort();
    names.dedup();
    names
}

/// The changes of propagation types.
pub fn propagations(flags: &[u64]) -> impl Iterator<Item = Attributes> {
    flags.iter().map(|flags| Attributes {
        propagation: flags & !MS_REC,
        recursive: flags & MS_REC != 0,
        ..Attributes::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Options {
        parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(parsed("ro,rw").flags, 0);
        assert_eq!((parsed("ro,rw").set, parsed("ro,rw").clear), (0, MOUNT_ATTR_RDONLY));
        assert_eq!((parsed("rw,ro").set, parsed("rw,ro").clear), (MOUNT_ATTR_RDONLY, 0));
    }

    #[test]
    fn a_name_with_r_in_front_is_recursive_and_rw_is_not() {
        let options = parsed("rro,rnosuid");
        assert_eq!((options.set, options.set_recursively), (0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
        assert_eq!(parsed("relatime").flags, MS_RELATIME);
        assert_eq!(parsed("noatime,nodiratime,strictatime").flags, MS_NODIRATIME | MS_STRICTATIME);
        assert_eq!(parsed("relatime").clear, MOUNT_ATTR__ATIME);
        assert_eq!(parsed("rrelatime").clear_recursively, MOUNT_ATTR__ATIME);
    }

    #[test]
    fn what_is_not_a_flag_is_for_the_file_system() {
        assert_eq!(parsed("nosuid,mode=755,size=64k").data, ["mode=755", "size=64k"]);
        assert_eq!(parsed("rbind,rslave").propagation, [MS_SLAVE | MS_REC]);
    }
}
