//! What attackers write and rootlet reads, each as a function of bytes: for the fuzzer, and for the test that replays what the
//! fuzzer has found worth keeping. None of it may panic, hang, or be believed where it is wrong.

use rootlet::container::users::{Root, resolve};
use rootlet::container::{Container, Directory, State};
use rootlet::criu::protobuf;
use rootlet::host::Host;
use rootlet::plan::step::ProgramStep;
use rootlet::plan::{Bus, Slots};
use rootlet::property::{Request, compile};
use rootlet::spec::{User, load};
use rootlet::sys::fd;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::OnceLock;

#[path = "models.rs"]
pub mod models;

/// A corpus, and what is done with each input of it.
type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 10] = [
    ("bus", bus),
    ("config", config),
    ("criu", criu),
    ("ids", models::ids),
    ("options", models::options),
    ("plan", models::plan),
    ("seccomp", models::seccomp),
    ("state", state),
    ("statistics", models::statistics),
    ("users", users),
];

/// A directory of this process, which goes with it as far as anybody cares: it is in memory, and has two small files.
fn place() -> &'static PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = PathBuf::from(format!("/dev/shm/rootlet-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(place.join("etc")).unwrap();
        place
    })
}

/// Removes it.
pub fn tidy() {
    let _ = std::fs::remove_dir_all(place());
}

/// An image's /etc/passwd and /etc/group, read for HOME, and for a name that is looked for: three parts between NULs.
pub fn users(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    std::fs::write(place().join("etc/passwd"), parts.next().unwrap_or_default()).unwrap();
    std::fs::write(place().join("etc/group"), parts.next().unwrap_or_default()).unwrap();
    let open = || OwnedFd::from(std::fs::File::open(place()).unwrap());
    let mut user = User::default();
    if resolve(&name, &Root { process: 0, opened: Some(open()) }, &mut user).is_err() && !name.contains(':') {
        assert_eq!((user.uid, user.gid), (0, 0), "what is not found changes nothing");
    }
    let mut slots = Slots { root: Some(open()), ..Slots::default() };
    ProgramStep::FindHome { uid: 1000 }.run(&mut slots).unwrap();
    let home = slots.home.expect("there is always one");
    assert!(home.0.starts_with(b"HOME=") && home.0.last() == Some(&0));
}

/// A config, or a fragment of one that an engine passes on: it compiles, for an ordinary user and for root, or is an error; and
/// what is printed of it does not speak to a terminal.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let whole = format!(
        r#"{{"ociVersion":"1.2.0","root":{{"path":"rootfs"}},"process":{{"args":["sh"],"cwd":"/"}},
        "linux":{{"namespaces":[{{"type":"mount"}},{{"type":"pid"}},{{"type":"user"}}]}},{text}}}"#
    );
    for text in [&whole, text.as_ref()] {
        let Ok(loaded) = load::parse(text) else { continue };
        let request = Request { id: "box".to_owned(), bundle: "/bundle".into(), ..Request::default() };
        for (uid, capabilities) in [(1000, 0), (0, u64::MAX)] {
            let host = Host { uid, gid: uid, capabilities, ..Host::default() };
            let _ = host.in_initial_user_namespace.set(true);
            let _ = host.hierarchy.set(None);
            let said = match compile(&loaded.spec, &request, &host) {
                Ok(plan) => plan.to_string(),
                Err(error) => rootlet::error::printable(&error.in_one_line(), false).into_owned(),
            };
            assert!(!said.chars().any(|letter| letter.is_control() && letter != '\n'), "{said:?}");
        }
    }
}

/// A state.json of a shared --root.
pub fn state(data: &[u8]) {
    let file = fd::memory_file(c"state").unwrap();
    fd::write_all(file.as_fd(), data).unwrap();
    fd::rewind(file.as_fd()).unwrap();
    let directory = Directory::open(place().to_owned()).unwrap().unwrap();
    let container = Container::load("box", directory, file, false).unwrap();
    // Its status would be asked of the process that it names; everything else is its own.
    assert_ne!(container.state.is_some(), container.damage.is_some());
    let view = serde_json::to_string(&container.view("running")).unwrap();
    serde_json::from_str::<serde_json::Value>(&view).unwrap();
    if let Some(state) = &container.state {
        let again: State = serde_json::from_slice(&serde_json::to_vec(state).unwrap()).unwrap();
        assert_eq!(&again, state, "what is written is what was read");
    }
}

/// What a bus says to who asks for a scope.
pub fn bus(data: &[u8]) {
    let path = place().join("bus");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.write_all(b"DATA\r\nOK 0123\r\n");
            let _ = stream.write_all(data);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let bus = Bus { path: path.clone(), is_user: true };
        // A scope is made only by an answer that says so.
        let scope =
            rootlet::cgroup::systemd::Scope { slice: "x.slice", name: "x.scope", description: "x", properties: &[] };
        let made = rootlet::cgroup::systemd::start_scope(&bus, &scope, 1);
        assert!(made.is_err() || data.windows(10).any(|word| word == b"JobRemoved"));
    });
}

/// What CRIU answers.
pub fn criu(data: &[u8]) {
    for (_, value) in protobuf::fields(data) {
        let _ = (value.number(), value.text());
        protobuf::fields(value.bytes());
    }
}
