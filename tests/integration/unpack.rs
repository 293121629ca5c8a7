//! `rootlet unpack`: images of all forms, what is in their layers, and what damaged and hostile ones get.

use crate::images::{Layer, Layout, archive, base, digest, gzip, here, named, owned, zstd};
use crate::sandbox::{Done, Sandbox, eventually, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tar::EntryType;

/// Unpacks into `box`.
fn unpack(sandbox: &Sandbox, image: &str) -> Done {
    sandbox.rootlet(&["unpack", image, "box"])
}

fn root(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("box/rootfs")
}

fn text(sandbox: &Sandbox, path: &str) -> String {
    fs::read_to_string(root(sandbox).join(path)).unwrap()
}

fn config(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&fs::read_to_string(sandbox.path().join("box/config.json")).unwrap()).unwrap()
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn discard(sandbox: &Sandbox) {
    let path = sandbox.path().join("box");
    let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&path).status();
    fs::remove_dir_all(path).unwrap();
}

/// Nothing of a bundle, and no draft of one.
#[track_caller]
fn assert_nothing_is_left(sandbox: &Sandbox) {
    let names = fs::read_dir(sandbox.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name == "box" || name.contains(".rootlet-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Unpacks one plain layer.
fn unpack_layer(sandbox: &Sandbox, layer: Layer) -> Done {
    let layout = Layout::of(sandbox, "image", vec![layer.bytes()], here(json!({})));
    let done = unpack(sandbox, "oci:image");
    fs::remove_dir_all(layout.0).unwrap();
    done
}

#[test]
fn every_form_of_an_image_becomes_a_bundle_that_runs() {
    let sandbox = Sandbox::ordinary();
    let plain = base().bytes();
    let process =
        json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id -u; cat /etc/passwd | head -c 4"], "Env": ["A=b"]});
    for (name, kept) in [("plain", plain.clone()), ("gzip", gzip(&plain)), ("zstd", zstd(&plain))] {
        let layout = Layout::new(&sandbox, name);
        let image = layout.image(&[(plain.clone(), kept)], here(process.clone()));
        layout.index(&[named(image, "latest")]);
        fs::write(sandbox.path().join(format!("{name}.tar")), archive(&layout.0)).unwrap();
    }
    // As `docker save` wrote it for long: a layer is a link to another's.
    let saved = sandbox.mkdir("saved", 0o755);
    fs::create_dir_all(saved.join("a")).unwrap();
    fs::create_dir_all(saved.join("b")).unwrap();
    fs::write(saved.join("b/layer.tar"), &plain).unwrap();
    std::os::unix::fs::symlink("../b/layer.tar", saved.join("a/layer.tar")).unwrap();
    let mut of_image = here(process);
    of_image["rootfs"] = json!({"type": "layers", "diff_ids": [digest(&plain)]});
    let name = format!("{}.json", digest(of_image.to_string().as_bytes()).trim_start_matches("sha256:"));
    fs::write(saved.join(&name), of_image.to_string()).unwrap();
    let manifest = json!([{"Config": name, "RepoTags": ["it:1"], "Layers": ["a/layer.tar"]}]);
    fs::write(saved.join("manifest.json"), manifest.to_string()).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", &saved).unwrap();
    let saved = builder.into_inner().unwrap();
    fs::write(sandbox.path().join("saved.tar"), &saved).unwrap();
    fs::write(sandbox.path().join("saved.tar.gz"), gzip(&saved)).unwrap();
    for image in [
        "oci:plain",
        "oci:gzip:latest",
        "oci:zstd",
        "gzip",
        "oci-archive:plain.tar:latest",
        "zstd.tar",
        "docker-archive:saved.tar",
        "docker-archive:saved.tar:it:1",
        "saved.tar",
        "saved.tar.gz",
    ] {
        unpack(&sandbox, image).ok();
        sandbox_without_terminal(&sandbox);
        assert_eq!(sandbox.rootlet(&["run", "-b", "box", "box"]).ok().out, "0\nroot", "{image}");
        discard(&sandbox);
    }
    // A root file system alone, and through a pipe.
    fs::write(sandbox.path().join("root.tar"), &plain).unwrap();
    fs::write(sandbox.path().join("root.tar.zst"), zstd(&plain)).unwrap();
    for script in [
        "$rootlet unpack root.tar box",
        "$rootlet unpack root.tar.zst box",
        "cat root.tar | $rootlet unpack - box",
        "cat saved.tar.gz | $rootlet unpack - box",
        "$rootlet unpack - box <root.tar",
    ] {
        let done = sandbox.caller(script).ok();
        assert_eq!(done.err, "", "{script}");
        assert!(text(&sandbox, "etc/passwd").starts_with("root:"), "{script}");
        assert_eq!(fs::metadata(sandbox.path().join("box")).unwrap().permissions().mode() & 0o777, 0o700);
        discard(&sandbox);
    }
    assert_nothing_is_left(&sandbox);
}

fn sandbox_without_terminal(sandbox: &Sandbox) {
    let path = sandbox.path().join("box/config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"terminal\": true", "\"terminal\": false")).unwrap();
}

#[test]
fn layers_are_put_one_upon_the_other() {
    let sandbox = Sandbox::ordinary();
    let below = base()
        .directory("opaque/", 0o755)
        .file("opaque/old", "")
        .directory("opaque/kept/", 0o755)
        .file("opaque/kept/old", "")
        .directory("gone/", 0o755)
        .file("gone/deep", "")
        .file("file", "old")
        .directory("becomes-file/", 0o755)
        .file("becomes-file/x", "")
        .file("becomes-directory", "")
        .file("first", "shared")
        .link("second", "first")
        .directory("usr/", 0o755)
        .directory("usr/lib/", 0o755)
        .symlink("lib", "usr/lib")
        .directory("locked/", 0o500)
        .file("locked/a", "a");
    let above = Layer::new()
        .file("opaque/kept/new", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "")
        .file(".wh.gone", "")
        .file(".wh..wh.plnk", "")
        .file("file", "new")
        .file("becomes-file", "it has")
        .directory("becomes-directory/", 0o700)
        .file(".wh.second", "")
        .file("lib/through-link", "")
        .file("locked/b", "b")
        .file("implicit/on/the/way", "");
    Layout::of(&sandbox, "image", vec![below.bytes(), above.bytes()], here(json!({})));
    unpack(&sandbox, "oci:image").ok();
    let root = root(&sandbox);
    for (path, is) in [
        ("opaque/old", false),
        ("opaque/kept/old", false),
        ("opaque/kept/new", true),
        ("opaque/new", true),
        ("gone", false),
        ("second", false),
        ("first", true),
        ("usr/lib/through-link", true),
        (".wh.gone", false),
        ("opaque/.wh..wh..opq", false),
        ("implicit/on/the/way", true),
        (".wh..wh.plnk", false),
    ] {
        assert_eq!(is_there(&root.join(path)), is, "{path}");
    }
    assert_eq!((text(&sandbox, "file"), text(&sandbox, "becomes-file")), ("new".into(), "it has".into()));
    assert!(root.join("lib").is_symlink() && root.join("becomes-directory").is_dir());
    let locked = fs::metadata(root.join("locked")).unwrap();
    assert_eq!(
        (locked.permissions().mode() & 0o7777, locked.mtime()),
        (0o500, 1_600_000_000),
        "written to by a later layer"
    );
    assert_eq!(fs::metadata(root.join("implicit")).unwrap().permissions().mode() & 0o7777, 0o755);
    discard(&sandbox);
}

#[test]
fn what_a_file_has_is_kept() {
    let sandbox = Sandbox::ordinary();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let owned = owned(0o4755, 33, 0, 7);
    let layer = Layer::new()
        .raw(&owned, b"x")
        .extended(&[
            ("path", long.as_bytes()),
            ("mtime", b"1600000000.25"),
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.rootlesscontainers", b"z"),
        ])
        .file("short", "long")
        .entry(EntryType::Fifo, "fifo", 0o620, "", b"")
        .entry(EntryType::Char, "null", 0o666, "", b"")
        .entry(EntryType::Block, "disk", 0o660, "", b"")
        .symlink("dangling", "/no/such")
        // GNU tar's sparse files, as --format=posix writes them.
        .extended(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.realsize", b"1048580"),
        ])
        .entry(
            EntryType::Regular,
            "GNUSparseFile.0/sparse",
            0o644,
            "",
            &[b"1\n1048576\n4\n".to_vec(), vec![0; 512 - 12], b"tail".to_vec()].concat(),
        );
    let done = unpack_layer(&sandbox, layer);
    assert!(done.code == 0, "{done:?}");
    assert_eq!(done.err, "warning: null and 1 more: left out: a device; the runtime makes those of /dev\n");
    let root = root(&sandbox);
    let owned = fs::metadata(root.join("owned")).unwrap();
    assert_eq!((owned.permissions().mode() & 0o7777, owned.mtime(), owned.uid()), (0o4755, 7, sandbox.uid()));
    let attribute = |path: &str, name: &str| attribute(&root.join(path), name);
    assert_eq!(attribute("owned", "user.rootlesscontainers").unwrap(), b"\x08\x21\x10\xff\xff\xff\xff\x0f");
    let file = fs::metadata(root.join(&long)).unwrap();
    // Small inodes of ext4 have whole seconds.
    let has_fractions = fs::metadata(sandbox.write("probe", "")).unwrap().mtime_nsec() != 0;
    assert_eq!((file.mtime(), file.mtime_nsec()), (1_600_000_000, if has_fractions { 250_000_000 } else { 0 }));
    assert_eq!(attribute(&long, "user.note").unwrap(), b"kept");
    assert_eq!(attribute(&long, "user.overlay.opaque"), None, "an overlay would take it for an order");
    assert_eq!(attribute(&long, "user.rootlesscontainers"), None);
    assert!(fs::symlink_metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    assert!(!is_there(&root.join("null")) && !is_there(&root.join("disk")));
    assert_eq!(fs::read_link(root.join("dangling")).unwrap(), Path::new("/no/such"));
    let sparse = fs::read(root.join("sparse")).unwrap();
    assert!(
        sparse.len() == 1_048_580 && sparse.ends_with(b"tail") && sparse[..1_048_576].iter().all(|byte| *byte == 0)
    );
    assert!(fs::metadata(root.join("sparse")).unwrap().blocks() < 100, "the hole is one");
    discard(&sandbox);
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let done = Command::new("perl").args(["-e", PERL, path.to_str().unwrap(), name]).output().unwrap();
    done.status.success().then_some(done.stdout)
}

/// lgetxattr(2): of x86_64 and of aarch64.
const PERL: &str = r#"use POSIX; my $n = (uname())[4] eq "x86_64" ? 192 : 9; my $b = "\0" x 256;
my $l = syscall($n, $ARGV[0], $ARGV[1], $b, 256); exit 1 if $l < 0; print substr($b, 0, $l)"#;

#[test]
fn an_images_configuration_becomes_the_configs() {
    let sandbox = Sandbox::ordinary();
    let process = json!({
        "Entrypoint": ["/bin/sh"], "Cmd": ["-c", "id -u; id -g; pwd; env; ls /data"], "Env": ["A=b", "NOTHING", "PATH=/bin"], "WorkingDir": "srv/x", "User": "web",
        "Labels": {"mine": "yes", "run.oci.hooks.stdout": "/tmp/host", "org.systemd.property.ExecStopPost": "x", "run.oci.unknown": "x"}, "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
    });
    let mut of_image = here(process);
    of_image["author"] = json!("somebody");
    of_image["created"] = json!("2026-01-01T00:00:00Z");
    let layer = base().directory("data/", 0o755).file("data/mine", "");
    Layout::of(&sandbox, "image", vec![layer.bytes()], of_image);
    let done = unpack(&sandbox, "oci:image").ok();
    assert_eq!(done.err.matches("is left out; because: runtimes take it for an order").count(), 3, "{}", done.err);
    sandbox_without_terminal(&sandbox);
    let out = sandbox.rootlet(&["run", "-b", "box", "box"]).ok().out;
    let mut lines: Vec<_> = out.lines().filter(|line| !line.starts_with("SHLVL") && !line.starts_with("PWD")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["/srv/x", "33", "34", "A=b", "HOME=/srv", "PATH=/bin", "TERM=xterm", "mine"]);
    let config = config(&sandbox);
    let annotation = |name: &str| config["annotations"][name].as_str().unwrap_or_default().to_owned();
    for (name, value) in [
        ("author", "somebody"),
        ("os", "linux"),
        ("stopSignal", "SIGQUIT"),
        ("exposedPorts", "53/udp,80/tcp"),
        ("created", "2026-01-01T00:00:00Z"),
    ] {
        assert_eq!(annotation(&format!("org.opencontainers.image.{name}")), value);
    }
    assert_eq!(annotation("mine"), "yes");
    assert!(
        !config["annotations"].to_string().contains("run.oci")
            && !config["annotations"].to_string().contains("systemd")
    );
    discard(&sandbox);
    // A user that the image does not have, and a volume that is none.
    let image = here(json!({"User": "nobody-knows", "Volumes": {"../x": {}}, "Env": null, "Cmd": null}));
    Layout::of(&sandbox, "other", vec![base().bytes()], image);
    let done = unpack(&sandbox, "oci:other").ok();
    assert!(done.err.contains("nobody-knows") && done.err.contains("\"../x\" is left out"), "{}", done.err);
    assert_eq!(self::config(&sandbox)["process"]["args"], json!(["sh"]));
    discard(&sandbox);
}

#[test]
fn the_image_for_this_machine_is_taken() {
    let sandbox = Sandbox::ordinary();
    let layout = Layout::new(&sandbox, "image");
    let image = |file: &str, architecture: &str| {
        let layer = Layer::new().file(file, "").bytes();
        let config = json!({"os": "linux", "architecture": architecture, "config": {}});
        let mut image = layout.image(&[(layer.clone(), layer)], config);
        image["platform"] = json!({"os": "linux", "architecture": architecture});
        image
    };
    let here = here(json!({}))["architecture"].as_str().unwrap().to_owned();
    let several = json!({"schemaVersion": 2, "manifests": [image("other", "s390x"), image("mine", &here)]});
    let index = layout.blob("index.v1+json", several.to_string().as_bytes());
    layout.index(&[named(index, "many"), named(image("foreign", "s390x"), "foreign")]);
    unpack(&sandbox, "oci:image:many").ok();
    assert!(root(&sandbox).join("mine").exists());
    discard(&sandbox);
    sandbox.rootlet(&["unpack", "--platform", "linux/s390x", "oci:image:many", "box"]).ok();
    assert!(root(&sandbox).join("other").exists());
    discard(&sandbox);
    unpack(&sandbox, "oci:image:foreign").fails(&["the image is for linux/s390x", "--platform linux/s390x"]);
    unpack(&sandbox, "oci:image:none").fails(&["no image of the name \"none\"", "many, foreign"]);
    unpack(&sandbox, "oci:image").fails(&["has 2 images", "many, foreign"]);
    sandbox
        .rootlet(&["unpack", "--platform", "linux/riscv64", "oci:image:many", "box"])
        .fails(&["no image for linux/riscv64", "linux/s390x"]);
    assert_nothing_is_left(&sandbox);
}

#[test]
fn no_layer_leaves_the_root() {
    let sandbox = Sandbox::ordinary();
    let outside = sandbox.mkdir("outside", 0o755);
    let secret = sandbox.write("outside/secret", "the host's");
    let (outside, secret) = (outside.to_str().unwrap(), secret.to_str().unwrap());
    let up = "../../../../../../../../../..";
    for layer in [
        Layer::new().file("../escaped", "x"),
        Layer::new().file(&format!("{up}{outside}/escaped"), "x"),
        Layer::new().directory("a/", 0o755).file("a/../../escaped", "x"),
        Layer::new().entry(EntryType::Link, "link", 0o644, &format!("{up}{secret}"), b""),
        Layer::new().entry(EntryType::Link, "link", 0o644, secret, b""),
        Layer::new().symlink("way", outside).entry(EntryType::Link, "link", 0o644, "way/secret", b""),
    ] {
        unpack_layer(&sandbox, layer).fails(&["layer 1 of 1", "was made to deceive"]);
        assert_nothing_is_left(&sandbox);
    }
    // What looks like the host's is the root's own.
    let layer = Layer::new()
        .file(&format!("{outside}/absolute"), "x")
        .symlink("way", outside)
        .file("way/through", "x")
        .symlink("up", up)
        .file("up/above", "x")
        .symlink("file", secret)
        .file("file", "over the link")
        .symlink("dir", outside)
        .directory("dir/", 0o700)
        .symlink("gone", outside)
        .file("gone/.wh.secret", "")
        .file("gone/.wh..wh..opq", "")
        .symlink("proc", "/proc/self/fd")
        .entry(EntryType::Fifo, "way/fifo", 0o600, "", b"");
    unpack_layer(&sandbox, layer).ok();
    let names: Vec<_> = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"], "nothing was made or removed");
    assert_eq!(fs::read_to_string(secret).unwrap(), "the host's");
    let root = root(&sandbox);
    assert_eq!(fs::read_to_string(root.join("above")).unwrap(), "x");
    assert!(root.join(outside.trim_start_matches('/')).is_dir());
    assert!(!root.join("file").is_symlink() && !root.join("dir").is_symlink());
    discard(&sandbox);
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let sandbox = Sandbox::ordinary();
    for layer in [
        Layer::new().entry(EntryType::Directory, "d/", 0o755, "", &[0; 1024]),
        Layer::new().entry(EntryType::Symlink, "l", 0o777, "x", &[0; 512]),
        Layer::new().extended(&[("path", b"a"), ("path", b"b")]).file("c", ""),
        Layer::new().extended(&[("size", b"junk")]).file("c", ""),
        Layer::new().extended(&[("GNU.sparse.name", b"other")]).file("c", ""),
        Layer::new().extended(&[("GNU.sparse.size", b"1"), ("GNU.sparse.map", b"0,9")]).file("c", "123456789"),
        Layer::new().extended(&[("GNU.sparse.size", b"junk")]).file("c", ""),
        Layer::new().extended(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,junk")]).file("c", "x"),
        Layer::new().symlink("l", ""),
        Layer::new().file(".wh...", ""),
        Layer::new().directory("d/", 0o755).file("d/.wh..", ""),
    ] {
        unpack_layer(&sandbox, layer).fails(&["layer 1 of 1", "was made to deceive"]);
        assert_nothing_is_left(&sandbox);
    }
}

#[test]
fn a_directory_has_no_mode_of_one_that_was_removed() {
    // The file system may give the new one the old one's inode.
    let sandbox = Sandbox::ordinary();
    let below = (0..50).fold(Layer::new(), |layer, number| layer.directory(&format!("old{number}/"), 0o1777));
    let above = (0..50).fold(Layer::new(), |layer, number| layer.file(&format!(".wh.old{number}"), ""));
    let above = (0..50).fold(above, |layer, number| layer.file(&format!("new{number}/x"), ""));
    Layout::of(&sandbox, "image", vec![below.bytes(), above.bytes()], here(json!({})));
    unpack(&sandbox, "oci:image").ok();
    for number in 0..50 {
        let made = fs::metadata(root(&sandbox).join(format!("new{number}"))).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o755, "new{number}");
    }
    discard(&sandbox);
}

#[test]
fn who_may_rename_beside_the_bundle_gets_nothing_of_the_callers() {
    // The draft is moved away while it is made, and a link to the caller's own files put there.
    let sandbox = Sandbox::ordinary();
    let victim = sandbox.mkdir("victim", 0o755);
    let bytes = base().bytes();
    let mut command = sandbox.command(&["unpack", "-", "box"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let find = || {
        let names = fs::read_dir(sandbox.path()).unwrap().map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".rootlet-"))
    };
    eventually("it has begun", || find().is_some());
    let draft = find().unwrap();
    fs::rename(&draft, sandbox.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(&victim, &draft).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && err.contains("somebody has replaced what was made"), "{err}");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "nothing was written there");
    assert!(draft.is_symlink(), "nothing of somebody else's was removed");
}

#[test]
fn bombs_end_at_a_limit() {
    let sandbox = Sandbox::ordinary();
    // Gigabytes from a few kilobytes; a size that is only said; headers that would fill the memory; depth.
    let zeros = Layer::new().entry(EntryType::Regular, "zeros", 0o644, "", &vec![0; 16 << 20]).bytes();
    let layout = Layout::new(&sandbox, "image");
    let image = layout.image(&[(zeros.clone(), gzip(&zeros))], here(json!({})));
    layout.index(&[image]);
    sandbox
        .rootlet(&["unpack", "--max-size", "8M", "oci:image", "box"])
        .fails(&["more than 8388608 bytes", "--max-size"]);
    sandbox.rootlet(&["unpack", "--max-size", "17M", "oci:image", "box"]).ok();
    discard(&sandbox);
    fs::remove_dir_all(&layout.0).unwrap();
    let sparse = Layer::new()
        .extended(&[("GNU.sparse.size", b"9000000000000000000"), ("GNU.sparse.map", b"0,1"), ("GNU.sparse.name", b"s")])
        .entry(EntryType::Regular, "s", 0o644, "", b"x");
    unpack_layer(&sandbox, sparse).fails(&["more than 68719476736 bytes"]);
    let name = vec![b'x'; 3 << 20];
    unpack_layer(&sandbox, Layer::new().extended(&[("path", &name)]).file("x", "")).fails(&["headers of one file"]);
    // Directories that no entry brings are counted, too.
    let many = (0..40).fold(Layer::new(), |layer, number| {
        let path = format!("{number}/{}f", "x/".repeat(400));
        layer.extended(&[("path", path.as_bytes())]).file("f", "")
    });
    fs::write(sandbox.path().join("many.tar"), many.bytes()).unwrap();
    sandbox.rootlet(&["unpack", "--max-size", "10M", "many.tar", "box"]).fails(&["more than 10485760 bytes"]);
    let path = format!("{}f", "x/".repeat(1000));
    unpack_layer(&sandbox, Layer::new().extended(&[("path", path.as_bytes())]).file("f", "")).fails(&["500 deep"]);
    // A name of a gigabyte, where an archive is only listed.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(64 << 20);
    header.set_cksum();
    fs::write(sandbox.path().join("long.tar"), [header.as_bytes(), &vec![b'x'; 64 << 20][..]].concat()).unwrap();
    unpack(&sandbox, "long.tar").fails(&["no name and no attribute is that long"]);
    let deep = (0..12).fold(Layer::new(), |layer, number| {
        let path = "d/".repeat(45);
        let layer = layer.directory(&format!("{path}e/"), 0o755);
        layer.symlink(&format!("l{number}"), &path)
    });
    unpack_layer(&sandbox, deep).ok();
    discard(&sandbox);
    assert_nothing_is_left(&sandbox);
}

#[test]
fn damaged_images_are_one_error_and_nothing_is_left() {
    let sandbox = Sandbox::ordinary();
    let plain = base().bytes();
    let whole = gzip(&plain);
    let broken = |name: &str, change: &dyn Fn(&Layout, &Value)| {
        let layout = Layout::new(&sandbox, name);
        let image = layout.image(&[(plain.clone(), whole.clone())], here(json!({})));
        layout.index(std::slice::from_ref(&image));
        change(&layout, &image);
        unpack(&sandbox, &format!("oci:{name}"))
    };
    let layer = |layout: &Layout| layout.0.join("blobs").join(digest(&whole).replace(':', "/"));
    broken("cut", &|layout, _| fs::write(layer(layout), &whole[..whole.len() / 2]).unwrap())
        .fails(&["layer 1 of 1", "damaged, or was cut off"]);
    broken("garbage", &|layout, _| fs::write(layer(layout), [&whole[..], b"more"].concat()).unwrap())
        .fails(&["layer 1 of 1"]);
    broken("other", &|layout, _| fs::write(layer(layout), gzip(&base().file("evil", "").bytes())).unwrap())
        .fails(&["layer 1 of 1", "the digest is another"]);
    broken("missing", &|layout, _| fs::remove_file(layer(layout)).unwrap())
        .fails(&["is missing", "fetch or save it again"]);
    broken("changed", &|layout, image| {
        let path = layout.0.join("blobs").join(image["digest"].as_str().unwrap().replace(':', "/"));
        fs::write(&path, fs::read_to_string(&path).unwrap() + " ").unwrap();
    })
    .fails(&["the digest is another"]);
    broken("json", &|layout, _| fs::write(layout.0.join("index.json"), "{").unwrap())
        .fails(&["index.json that says nothing"]);
    broken("empty", &|layout, _| {
        layout.index(&[]);
    })
    .fails(&["has no image in it"]);
    broken("digest", &|layout, image| {
        let mut image = image.clone();
        image["digest"] = json!("sha256:../../../etc/passwd");
        layout.index(&[image]);
    })
    .fails(&["no sha256"]);
    broken("type", &|layout, _| {
        let config = layout.blob("config.v1+json", here(json!({})).to_string().as_bytes());
        let mut kept = layout.blob("layer.v1.tar", &whole);
        kept["mediaType"] = json!("application/vnd.example.squashfs");
        let manifest = json!({"config": config, "layers": [kept]}).to_string();
        layout.index(&[layout.blob("manifest.v1+json", manifest.as_bytes())]);
    })
    .fails(&["vnd.example.squashfs", "plain or compressed by gzip or zstd"]);
    broken("fewer", &|layout, _| {
        let config = layout.blob("config.v1+json", here(json!({})).to_string().as_bytes());
        let manifest = json!({"config": config, "layers": [layout.blob("layer.v1.tar", &whole)]}).to_string();
        layout.index(&[layout.blob("manifest.v1+json", manifest.as_bytes())]);
    })
    .fails(&["has 1 layers, and its configuration names 0"]);
    // A plain layer whose compressed bytes are right and whose content is another's.
    broken("content", &|layout, _| {
        let mut config = here(json!({}));
        config["rootfs"] = json!({"diff_ids": [digest(b"another")]});
        let config = layout.blob("config.v1+json", config.to_string().as_bytes());
        let manifest = json!({"config": config, "layers": [layout.blob("layer.v1.tar", &whole)]}).to_string();
        layout.index(&[layout.blob("manifest.v1+json", manifest.as_bytes())]);
    })
    .fails(&["the digest is another"]);
    for (name, bytes, words) in [
        ("text", b"no archive at all\n".to_vec(), "is no tar archive"),
        ("half.tar", plain[..plain.len() / 2].to_vec(), "damaged, or was cut off"),
        ("endless.tar", plain[..plain.len() - 1024].to_vec(), "damaged, or was cut off"),
        ("x.tar.xz", b"\xfd7zXZ\0 and so on".to_vec(), "xz -dc"),
    ] {
        fs::write(sandbox.path().join(name), bytes).unwrap();
        unpack(&sandbox, name).fails(&[words]);
    }
    unpack(&sandbox, "docker-archive:text").fails(&["is no tar archive"]);
    for script in [": | $rootlet unpack - box", "$rootlet unpack /dev/null box", ": >none; $rootlet unpack none box"] {
        sandbox.caller(script).fails(&["is empty", "see whether the program failed"]);
    }
    unpack(&sandbox, "img:tag").fails(&["img:tag", "ENOENT", "skopeo copy docker://img:tag"]);
    unpack(&sandbox, "cut:tag").fails(&["did you mean oci:cut:tag?"]);
    unpack(&sandbox, "bundle").fails(&["is a bundle already", "run -b bundle"]);
    unpack(&sandbox, "bundle/rootfs").fails(&["is a root file system", "run --rootfs bundle/rootfs"]);
    sandbox.rootlet(&["unpack", "box", "half.tar"]).fails(&["half.tar is a file", "unpack half.tar BUNDLE"]);
    unpack(&sandbox, "nosuch.tar").fails(&["nosuch.tar", "ENOENT"]);
    unpack(&sandbox, "docker://alpine").fails(&["skopeo copy docker://alpine"]);
    unpack(&sandbox, "xdg").fails(&["has no index.json"]);
    assert_nothing_is_left(&sandbox);
}

#[test]
fn nothing_is_overwritten_and_a_full_disk_leaves_nothing() {
    let sandbox = Sandbox::ordinary();
    fs::write(sandbox.path().join("root.tar"), base().bytes()).unwrap();
    sandbox.mkdir("box", 0o755);
    unpack(&sandbox, "root.tar").ok();
    unpack(&sandbox, "root.tar").fails(&["box is there already", "nothing is overwritten"]);
    assert!(text(&sandbox, "etc/passwd").starts_with("root:"));
    discard(&sandbox);
    sandbox.rootlet(&["unpack", "root.tar", "nosuch/box"]).fails(&["nosuch/box", "must exist"]);
    sandbox.rootlet(&["unpack", "root.tar", "root.tar/box"]).fails(&["root.tar/box", "ENOTDIR"]);
    std::os::unix::fs::symlink("xdg", sandbox.path().join("link")).unwrap();
    sandbox.rootlet(&["unpack", "root.tar", "link"]).fails(&["link is there already"]);
    sandbox.mkdir("here", 0o755);
    sandbox.caller("cd here && $rootlet unpack ../root.tar .").fails(&["is in use", "current one"]);
    let long = "b".repeat(255);
    sandbox.rootlet(&["unpack", "root.tar", &long]).ok();
    fs::remove_dir_all(sandbox.path().join(long)).unwrap();
    // In a mount namespace of its own, on a disk of one megabyte.
    let script = "mkdir small && mount -t tmpfs -o size=1m tmpfs small && $rootlet unpack root.tar small/box; echo $?; ls -A small";
    let script = script.replace("$rootlet", crate::sandbox::binary().to_str().unwrap());
    let mut command =
        sandbox.program(Path::new("unshare"), &["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    let done = finish({
        command.stdin(Stdio::null());
        command
    });
    assert_eq!(done.out, "1\n", "{done:?}");
    assert!(done.err.contains("ENOSPC") && done.err.contains("make room"), "{}", done.err);
    assert_nothing_is_left(&sandbox);
}

#[test]
fn a_signal_takes_the_half_made_bundle_back() {
    let sandbox = Sandbox::ordinary();
    let mut command = sandbox.command(&["unpack", "-", "box"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = base().bytes();
    std::io::Write::write_all(&mut pipe, &bytes[..300 << 10]).unwrap();
    let is_draft =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().to_str().unwrap().contains(".rootlet-");
    eventually("it has begun", || fs::read_dir(sandbox.path()).unwrap().any(is_draft));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    // Whatever the pipe gives, or does not.
    let status = child.wait().unwrap();
    drop(pipe);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status:?}");
    assert_nothing_is_left(&sandbox);
}

#[test]
fn the_root_of_the_host_gives_files_to_their_owners() {
    let Some(sandbox) = Sandbox::root() else { return };
    let owned = owned(0o4711, 33, 34, 0);
    unpack_layer(&sandbox, Layer::new().raw(&owned, b"x")).ok();
    let owned = fs::symlink_metadata(root(&sandbox).join("owned")).unwrap();
    assert_eq!((owned.uid(), owned.gid(), owned.mode() & 0o7777), (33, 34, 0o4711));
    assert_eq!(attribute(&root(&sandbox).join("owned"), "user.rootlesscontainers"), None);
    discard(&sandbox);
}

#[test]
fn umoci_unpacks_the_same_files() {
    if Command::new("umoci").arg("--version").output().is_err() {
        return skip("umoci is not installed");
    }
    let sandbox = Sandbox::ordinary();
    let owned = owned(0o2755, 1000, 42, 5);
    let below = base()
        .raw(&owned, b"x")
        .link("again", "owned")
        .directory("locked/", 0o500)
        .file("locked/x", "x")
        .directory("old/", 0o755)
        .file("old/a", "")
        .symlink("way", "old");
    let above = Layer::new()
        .file("old/.wh..wh..opq", "")
        .file("old/b", "b")
        .file("locked/y", "y")
        .file(".wh.again", "")
        .file("way/c", "c");
    let layout = Layout::new(&sandbox, "image");
    let layers: Vec<_> = [below, above]
        .into_iter()
        .map(|layer| {
            let plain = layer.bytes();
            (plain.clone(), gzip(&plain))
        })
        .collect();
    let mut image = layout.image(&layers, here(json!({})));
    image["annotations"] = json!({"org.opencontainers.image.ref.name": "it"});
    // umoci believes the type.
    let path = layout.0.join("blobs").join(image["digest"].as_str().unwrap().replace(':', "/"));
    let manifest = fs::read_to_string(path).unwrap().replace("layer.v1.tar", "layer.v1.tar+gzip");
    let image = named(layout.blob("manifest.v1+json", manifest.as_bytes()), "it");
    layout.index(&[image]);
    let done = finish(sandbox.program(Path::new("umoci"), &["unpack", "--rootless", "--image", "image:it", "theirs"]));
    assert!(done.code == 0, "{done:?}");
    unpack(&sandbox, "oci:image:it").ok();
    let list = |root: PathBuf| {
        let script =
            "find . -printf '%P %y %m %l %n %s %T@\\n' | sed '/ d /s/ [0-9]* [0-9]* \\([0-9.]*\\)$/ \\1/' | sort";
        let done = finish({
            let mut command = sandbox.program(Path::new("sh"), &["-c", script]);
            command.current_dir(root);
            command
        });
        done.ok().out
    };
    assert_eq!(list(sandbox.path().join("theirs/rootfs")), list(root(&sandbox)));
    for file in ["owned", "locked/x"] {
        let of = |root: PathBuf| attribute(&root.join(file), "user.rootlesscontainers");
        assert_eq!(of(sandbox.path().join("theirs/rootfs")), of(root(&sandbox)), "{file}");
    }
    for bundle in ["theirs", "box"] {
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(sandbox.path().join(bundle)).status();
    }
}

#[test]
fn what_a_killed_unpack_has_left_is_swept_by_the_next() {
    let sandbox = Sandbox::ordinary();
    let archive = sandbox.path().join("small.tar");
    let packed = Command::new("tar").arg("-C").arg(sandbox.rootfs()).arg("-cf").arg(&archive).arg(".").output();
    assert!(packed.unwrap().status.success());
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).unwrap();
    let make = |name: &str, uid, age: &str| {
        let place = sandbox.path().join(name);
        std::fs::create_dir_all(place.join("rootfs/deep")).unwrap();
        std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        for path in [place.join("rootfs/deep"), place.join("rootfs"), place.clone()] {
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
        }
        assert!(Command::new("touch").args(["-d", age]).arg(&place).status().unwrap().success());
        place
    };
    if !is_root() {
        return skip("needs root to make directories of others");
    }
    let left = make(".rootlet-1-a", sandbox.uid(), "10 minutes ago");
    let kept = [
        make(".rootlet-1-b", sandbox.uid(), "now"),
        make(".rootlet-1-c", sandbox.uid() + 1, "10 minutes ago"),
        make(".rootlet-1-d", sandbox.uid(), "10 minutes ago"),
    ];
    let lock = std::fs::File::open(&kept[2]).unwrap();
    lock.lock().unwrap();
    sandbox.rootlet(&["unpack", archive.to_str().unwrap(), "box2"]).ok();
    assert!(!left.exists() && kept.iter().all(|place| place.exists()));
    drop(lock);
    sandbox.assert_clean();
}
