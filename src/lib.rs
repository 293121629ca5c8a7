//! rootlet runs OCI containers for people who are not root. This page is its architecture.
//!
//! # Think in the parent, act in the child
//!
//! `config.json` is compiled once, in the parent, into a [`plan::Plan`]: an ordered list of typed, fully resolved
//! [`plan::Step`]s. The child runs steps. It does not parse, decide, format or allocate. So a plan can be printed
//! (`rootlet plan`), compared in a test without privileges, reviewed (all that the child can do is one enum), and blamed:
//! a step knows the property of config.json that it comes from, and an error names it.
//!
//! # Floors
//!
//! Imports go downwards only; `tests/floors.rs` reads them and fails otherwise.
//!
//! ```text
//! command      one file per subcommand: arguments in, text and exit code out; no system calls
//! image        from an image to a bundle: which one, its layers, its config.json
//! container    lifecycle and state on disk; create.rs is the story
//! init         the process that becomes the container: spawn, helper, handshake, child
//! property     one file per OCI property: spec -> steps; the ORDER table and compile()
//! fake_root    who answers for a root that is faked
//! cgroup, criu which cgroup, and why; limits -> files, device rules -> a program; directories, systemd, statistics; and
//!              what CRIU is asked and answers
//! plan, spec, seccomp
//!              steps, their text, their advice; config.json: its types, loading, the configs that are written; and from
//!              a profile to the program that filters system calls
//! doctor       what this host allows, found by trying, and why something was refused
//! host, error, log, capability, passwd, owner, network, removal
//!              what the caller and the kernel allow; what the user reads; lines of /etc/passwd; owners that are kept in attributes;
//!              who leads a way out of a network namespace; removing what others wrote
//! sys          system calls: the only unsafe code; no allocation, no formatting; errors are call + errno
//! ```
//!
//! # Where to look
//!
//! - What happens when a container is created? [`container::create()`], top to bottom. Its mirror is `init/child.rs`, and
//!   what they say to each other is drawn over `init/handshake.rs`.
//! - In which order? [`property::ORDER`]. To add a property: one file in `property/`, one row there, its
//!   type and its key in `spec` (`KEYS`).
//! - What does a step do? [`plan::Step::run`].
//! - What does `exec` share with `create`? Each row of ORDER has a scope; [`container::exec()`] compiles the other one.
//! - What runs beside a container, and how does it end with it? `container/beside/`; who answers for fake root is in [`fake_root`].
//! - How does an image become a bundle? [`image::unpack()`], top to bottom.
//! - What can be written by `checkpoint`, and where does `restore` find the rest? `container/checkpoint/external.rs`.
//! - Which cgroup does a container get? [`cgroup::placement`]. What is written to it? [`cgroup::settings`].
//! - What may stand in config.json? [`spec::schema::KEYS`]: each key is claimed by a row of ORDER (a test), and what a row
//!   only refuses is in [`property::REFUSED`], with its reason. `rootlet features` is made from the same tables.
//! - Why does an error say what it says? `plan/words`, tables; `plan/circumstances.rs`, facts of the host; and [`doctor::causes`],
//!   which `rootlet doctor` finds them by, too.
//! - What is a sandbox? A config: [`spec::sandbox`], and `command/bwrap.rs` for bubblewrap's flags. What OCI cannot say are types of mounts
//!   (`property/mounts/made.rs`) and annotations ([`property::annotations`]).
//! - What does a client of runc rely on? `command/mod.rs`, `command/spelling.rs` and `log.rs`.
//!
//! # From a program of one's own
//!
//! `default-features = false` leaves the command line out; `examples/embed.rs` shows a life. **Your `main` may run twice**: where the
//! container's root owns your program, `create` and `exec` start it again from its beginning, from a sealed copy (CVE-2019-5736), so call them
//! before anything that must not be done twice. [`container::Options::new`] says what
//! is created, [`container::create()`] makes a [`container::create::Created`], which has the container's lock: let it go before the
//! container is paused or deleted by its name, and start it by [`container::create::Created::start`] until then. Later,
//! [`container::start()`], [`container::exec()`], [`container::processes()`] and the rest
//! take a [`container::Container`], as [`container::States::find`] gives it: its state is a snapshot, `status` looks. Processes are
//! children of the calling *process*, which waits for them; with [`container::Start::Now`] they end with the calling *thread*
//! (PR_SET_PDEATHSIG): create them waiting, in a pool of threads. Errors are for people: [`error::Error::in_one_line`] is all of one. [`sys::process::wait`]
//! waits for an end, [`container::events::watch`] for what happens meanwhile; [`image::unpack()`] makes bundles.
//!
//! # Invariants
//!
//! - **The user namespace comes first.** One clone3 makes it and all others, which it owns. Nothing setuid is called.
//! - **A path inside the root is resolved once**, by openat2 with RESOLVE_IN_ROOT, and used by descriptor: not again for its
//!   attributes, its mode or its mask.
//! - **What rootlet writes to /proc goes to procfs**, verified by its magic number.
//! - **No code of the image runs, and nothing of it is loaded, before the final execve.** From the Bare steps on, the process
//!   holds the standard streams, what its caller preserves, and a socket; a debug build proves it, as it proves that the child
//!   does not allocate.
//! - **Nobody looks into a rootlet that waits**, from its id maps to its execve. Who has business with it asks it.
//! - **A config runs nothing on the host but hooks**, and pasta or slirp4netns with arguments of ours: a config without them could have
//!   the host's whole network. Fuse servers and options of CRIU need the caller's own word.
//! - **A limit is enforced or is an error**, never dropped in silence. What is done otherwise than asked is a
//!   [`plan::Decision`]: printed by `plan`, kept in the state, refused under `--strict`.
//! - **A cgroup is known by its inode**, as a process is by its pidfd's: no name of one container ends another's processes.
//! - **Whoever fails leaves nothing**: `Undo` in `create.rs` takes back in reverse what was made. A maker that is killed
//!   takes its child with it, until the child is recorded and ready.
//! - **Words that engines look for stand only for their cause** ([`error::Error`]).
//! - Deliberately absent: a second process between caller and container, async, a closure in a plan, a helper program.
//!   (CRIU is one, for `checkpoint` and `restore` alone; what stands beside a container does so because it was asked for.)
//!
//! # Decisions
//!
//! Each with the experiment behind it (Linux 6.18, two cores, ordinary user, unless it says otherwise).
//!
//! 1. **`mount(2)` on a descriptor's name, not fsmount.** A bind on `/proc/self/fd/N` of an openat2 target took 10 us, the
//!    race-safe open_tree and move_mount 14; a tmpfs 17 against 33. /proc/self/fd is the current directory during set-up,
//!    which also works when the host's tree is gone and when the image's /proc is not to be trusted.
//! 2. **`mount_setattr(2)` for every change of flags.** It leaves what it does not name, so flags that are locked by a user
//!    namespace need no merging and give no EPERM. It needs Linux 5.12. Access times of the host's mounts are always
//!    locked: `noatime` on a bind gave EPERM here, so it is left out as a decision.
//! 3. **cgroup2 over a bound /sys needs something in between.** The same file system on the same mount point is EBUSY (seen on
//!    every start with a plain cgroup2 host), so a tmpfs without room is mounted first.
//! 4. **Each side closes its copy of the other's socket.** Without it, a child whose maker was killed waited for ever: found
//!    by `killed_at_any_moment_it_leaves_a_stopped_state_at_most`.
//! 5. **A foreground `run` that is killed takes its container with it** (PDEATHSIG), and its id is free again; the kernel forgets
//!    that for a program that changes its user. runc leaves the container to nobody.
//! 6. **A time namespace is unshared by the child**, and entered by setns: clone3 would freeze its offsets before they can
//!    be written, and execve enters it only on newer kernels (6.12 did, 6.1 did not).
//! 7. **One piece of memory for the whole life of a command** (`sys/memory.rs`): musl's allocator made 46 system calls of a
//!    start's 400.
//! 8. **A sealed copy of the binary only where the container could write to it** (CVE-2019-5736, `init/seal.rs`). An
//!    installed, root-owned rootlet under an ordinary user makes none.
//! 9. **clap, but only of the named subcommand.** All of them cost 0.7 ms.
//! 10. **A helper goes first** (`init/helper.rs`) to namespaces that exist, or to a scope of systemd's, and clones the process
//!     as its sibling: the parent must stay where its hooks and sockets belong, and a pid namespace is joined only by children.
//!     It shares the parent's memory, as by vfork: `exec` took 1.9 ms with a copy of it, 1.2 without (a C program that does only
//!     the calls: 1.1). The process itself gets a copy: without, `exec` took 0.94 to 0.97 of the time by the median and more by the
//!     fastest tenth, as the parent stands still meanwhile.
//! 11. **A system call filter comes last where it can** (no_new_privs): an allow-list needs execve and what the program
//!     itself calls, nothing of ours (test). Without no_new_privs the kernel wants CAP_SYS_ADMIN for it, so it comes before
//!     capabilities are dropped, and an error says that it may be the cause.
//! 12. **Our own compiler of filters.** libseccomp takes 13 ms for Docker's profile, `seccomp/` some 0.05 ms; both decide
//!     alike on every probe of `tests/seccomp.rs`, and the same as under runc inside a container. Where rules with conditions
//!     overlap, libseccomp's answer depends on their order; ours is the stricter one.
//! 13. **A fuse file system is mounted by the container and served from beside it**: in its user namespace, so that ids are
//!     right, but with the caller's processes and files, so that nobody inside can trace the server. It needs no watcher:
//!     when the mount is gone, reading from /dev/fuse ends the server (seen with squashfuse and fuse-overlayfs).
//! 14. **A plain bind is one mount(2)**, one with attributes is a tree that gets them before it is attached: set afterwards, by a
//!     second look-up, they were another mount's in 1 of 150 starts when somebody exchanged names in a shared volume. One mount(2)
//!     took 5.5 us of the 12 that one of 200 costs; opening the mount point safely, looking whether it is in procfs, and taking the
//!     mount down are the rest.
//! 15. **The config is read by types of our own**, owned and not borrowed: some kilobytes are copied, once, and no lifetime
//!     runs through the floors. oci-spec's types write, and `TryFrom<oci_spec::runtime::Spec>` takes them over.
//! 16. **A container is born in its cgroup** (CLONE_INTO_CGROUP). A move by cgroup.procs waits 8 to 15 ms for RCU. A login may
//!     not even do that between its session and its user's systemd (cgroups(7), delegation containment), so systemd takes the
//!     helper there, and the helper's sibling is born there.
//! 17. **Our own D-Bus client**, of one method call and one signal: zbus doubled the crates (67 to 134) and cost a start with a
//!     sealed copy 0.13 ms of 4.6.
//! 18. **A process is known by its pidfd's inode** (Linux 6.9), elsewhere by its start time: reading /proc/PID/stat was a third
//!     of what `list` does.
//! 19. **What is the host's follows from the plan, also for CRIU** (`container/checkpoint/external.rs`): `checkpoint` compiles the config
//!     again and asks of each mount which step has made it. A mount is named in the images by its destination, which
//!     `restore` finds in its own plan. Guessing from mountinfo alone took a covered tmpfs of ours for the host's.
//! 20. **CRIU works in a mount namespace of its own**: it wants a root that is a mount, and in a user namespace it cannot bind
//!     alone what has mounts below it (EINVAL: they are locked). Elsewhere it gets the host's own paths: it copies the
//!     propagation from the mount that a source lies on, and a bind of a single file is too narrow for that (EINVAL).
//! 21. **Pages are touched when they are needed.** Mapping the whole binary at once (MADV_POPULATE_READ) made `--version` take
//!     1.4 times as long, and preparing memory in advance changed nothing. Optimising for speed (opt-level 3) brought 1.5 to 3 %, for
//!     1.3 MB.
//! 22. **The program's notifications are passed on by rootlet** (`container/beside/notify.rs`): systemd believes a process of the unit
//!     alone, and its pid in the container means nothing outside.
//! 23. **Descriptors are closed and not only marked.** The kernel follows links of procfs to what is marked close-on-exec while it
//!     looks for the interpreter of a `#!` line, so an image's script reached the host by the directory of a cgroup.
//! 24. **A helper's descriptors are its own before it clones** (unshare of CLONE_FILES): those who are in the container already
//!     see the new process from its birth on, and who has CAP_SYS_PTRACE in the host's user namespace looks into it whatever
//!     its dumpable flag says. The cgroup that it is born in is then a detached mount of that cgroup alone.
//! 25. **A waiting container hands its namespaces over** at its start socket. Its memory belongs to the host's user namespace
//!     until execve, so that an ordinary user cannot look a process up in /proc that is not dumpable: setns by its pidfd is EPERM.
//! 26. **/proc is the host's while a container is made, and none in exec**, unless a label is written. One of our own (fsopen) takes
//!     33 us and its end as much again; nobody of the container can look at it before it is closed. For the same reason, a container
//!     that joins another's pid namespace without a user namespace is seen while it is made: README, Security.
//! 27. **Device rules are a program, or nodev, or an error** (`property/cgroup.rs`). Every engine writes "deny all, and allow what
//!     is listed" for every container, so where nobody can attach a program that is a decision and not an error. For root it is
//!     one where the container keeps CAP_SYS_ADMIN, also in a user namespace: `mount -o remount,bind,dev /` opened a node there.
//! 28. **An idmapped tree is copied from the mounts of the container's process**, so that the kernel has locked the flags of the host's
//!     mounts in it: from the host's own, a read-only mount could be remounted writable inside.
//! 29. **A question has three answers**: yes, no, and an error that says why that is not known (`error::found`). With one
//!     descriptor too few, a living container was said to have stopped, and its id was given away. A plan, too, is refused if
//!     something of the host could not be asked, and not made as if the answer were no.
//! 30. **A state's directory appears locked**: it is made and locked under another name, and renamed. Made first and locked
//!     then, it was taken for a leftover by others, and shown as stopped in 2 of 200 looks.
//! 31. **A pid means something in its pid namespace alone**, so the state has that namespace. Elsewhere the status is an
//!     error, as nobody can see it; `delete --force` takes what is gone with its sandbox.
//! 32. **A created container stays, whatever fails in it**: where it cannot accept a connection it waits and tries again, and
//!     `start` asks again. It used to end, after `create` had said that all was well.
//! 33. **What names the host is opened by whoever has the caller's privileges** (`init/spawn.rs`, `open_source`): root's container
//!     with a user namespace has other ids, and could not reach a volume below a directory of mode 0700. The child asks for
//!     each source as its turn comes, and the parent opens it below /proc/CHILD/root: the mount is the child's own, so its flags
//!     are locked, and no descriptor is kept. An ordinary user's child is still that user, and opens them itself, without a round trip.
//! 34. **A cgroup is announced before it is made, and held while it is removed.** The state's directory names it by a symlink, so
//!     that a maker that is killed leaves none that nobody knows; and under a lock on its inode nobody puts another in its place,
//!     whose processes a late `delete` would end (seen once in 286 tries).
//! 35. **A container that has ended with its pid namespace has no processes**: what is in its cgroup then is somebody else's, and is
//!     named and not ended.
//! 36. **What is the host's node stays as it is**: a bound one is read-only where the container's root could change it, and a null
//!     device in its streams is a node of the container's, or one that is nowhere to be seen. A container without device rules
//!     did `chmod 604 /dev/null`, and one that had spoilt its own by the descriptor that `exec` had brought.
//! 37. **A mount of cgroup2 repeats the options of the host's**, where it is in the same cgroup namespace: the kernel takes what is not
//!     said for switched off, on the whole host, and with nsdelegate goes what keeps a container from lifting its own limits.
//! 38. **Who divides a cgroup gets its directory and what the kernel lists in /sys/kernel/cgroup/delegate, by uid and gid.** With the
//!     uid alone, `exec` could put no process there: in a user namespace, a capability counts where both ids are mapped.
//! 39. **Without a cgroup, a pause is each thread in a stop by a signal.** A first thread that rested in its tracer's stop was
//!     taken for a stopped process while another one counted (6 of 6 tries); and a tracer can swallow SIGSTOP.
//! 40. **`delete --force` takes what a foreground `run` has locked**, when its container has ended and the run comes to no end, as
//!     one that is stopped or prints what nobody reads. Only at its poststop hooks, which its state then says, it is waited for.
//! 41. **An image's device nodes are left out**, and said: an ordinary user can make none, the runtime has its own in /dev, and those
//!     of an image elsewhere would be the host's. Owners that cannot be given are kept as umoci keeps them, and compared with its.
//! 42. **A bundle is made by a descriptor, beside its name, for nobody else.** A neighbour who could rename there had an image
//!     written into the caller's own directory (first try); and what is setuid in an image is the caller's program, in a directory
//!     that others could enter.
//! 43. **An image's labels give no orders**: annotations that runtimes follow had switched off the user's filter and connected to
//!     his sockets, by an image alone. And a header that two readers take for two things is refused, as a scanner is one of them.
//! 44. **`run` is read by a short form first**, which has the flags that engines use: the definition of all took 2.5 % of a start.
//! 45. **A layer is an overlay in the config, and what goes away with the container is named in its state** by a symlink, before it is
//!     made: whoever deletes a container, or makes the next one after a maker that was killed, finds it. It is in /var/tmp and not
//!     in the state, which is memory as a rule.
//! 46. **Who answers for fake root is a process of ours without an execve**, in the container's user namespace: it needs the
//!     rights of the container's root to write an attribute on a file of mode 0444, and the host's /proc to find what a thread
//!     means by a path. What needs no other answer is the kernel's to do (SECCOMP_USER_NOTIF_FLAG_CONTINUE). It never changes its root
//!     or its directory: a chroot that failed half-way gave a default container a file of the host's (in 2 s). And it makes files with the umask
//!     and capabilities of who asks, and answers where one id is mapped alone: among several, it would lend root's rights to others.
//! 47. **A thread's faked ids are looked up by its timer slack.** The kernel hands that on to threads, children and programs as it
//!     does with ids, and lets the root of the user namespace set it (Linux 4.17). A table by pids would have to follow every fork: a child whose
//!     parent has ended before it asks (any daemon) is nobody's. The slack counts nanoseconds; 50,000 is the kernel's default.
//! 48. **pasta and slirp4netns get a keeper**, which ends them with the container: pasta 2023-03 lived on when the network namespace was
//!     only its own any more. A route in /proc/PID/net says that either is ready.
//! 49. **A sandbox's root is the host's, by one bind over an empty one**, and not a bind for each directory: what lies at the top of
//!     an unusual host is there. /run, /tmp and the home are covered, as sockets answer through read-only mounts.
//! 50. **A sandbox's program has a first process above it** (`plan/step/reaper.rs`), forked by the child before the filter, and ended by the end of
//!     the program: in its place, `kill -TERM $$` and an interrupt did nothing, and abort(3) was a SIGSEGV.
//! 51. **The end of the caller is heard by PR_SET_PDEATHSIG and believed by getppid(2)**: the kernel sends it also when the thread ends that has called.
//! 52. **What a doctor says was tried**, in children of the command's own; what cannot be tried is what the kernel's files say. The same probes are
//!     asked for the cause when something has failed, so that the limit of a namespace around is not said to be that of this one.
//! 53. **Times of the child's steps are written to memory that it shares with its maker**: two clocks a step, and nothing without `--trace`.
//! 54. **A start has its memory from the kernel at once** (MADV_POPULATE_WRITE, `sys/memory.rs`): 70 page faults before the clone instead of 115,
//!     and 1.6 times the floor instead of 1.7.
//! 55. **A binary of one's own is sealed before anything is read or said**: a copy of this program that is started again finds pipes empty,
//!     and descriptors closed, and would warn twice.
//! 56. **Plain command lines are read without clap** (`command/plain.rs`): its definition and parser of `run` took 50 us of 2300, and
//!     two thirds of a start's heap (150 KB, now 52). What is not plain is clap's, which says what is wrong; a test compares what
//!     both read of some thousand lines of each command.
//! 57. **The process of a plain start shares its maker's memory** until its program begins (CLONE_VM, with a stack of its own):
//!     0.94 to 0.96 of the time, by the page tables and the pages that are not copied. Not as by vfork: the maker writes the state
//!     meanwhile, and hears signals. The kernel says when it is over (CLONE_CHILD_CLEARTID). So does exec's, where the container has a
//!     user namespace of its own: who is in it has no power over memory of the caller's (ptrace(2)), while root of the host's with
//!     CAP_SYS_PTRACE could write to it, and so to its maker outside. Whoever waits there, or makes processes, has a copy. System
//!     calls give their error as their result (`sys/raw.rs`): errno would be one for both.
//! 58. **What a start calls lies together** (`scripts/order`): 0.94 of the time, 10 faults of text and not 40, and 1.5 MiB of memory at
//!     most and not 3.3. A linker script names sections, so both linkers of Rust can do it, and what is not found is not moved.

pub mod capability;
pub mod cgroup;
#[cfg(feature = "cli")]
pub mod command;
pub mod container;
pub mod criu;
pub mod doctor;
pub mod error;
pub mod fake_root;
pub mod host;
pub mod image;
pub mod init;
pub mod log;
pub mod network;
pub mod owner;
pub mod passwd;
pub mod plan;
pub mod property;
pub mod removal;
pub mod seccomp;
pub mod spec;
pub mod sys;
