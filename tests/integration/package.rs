//! The Debian package that `scripts/package` makes. It is installed only in the engines' guest.

use crate::engines::have_engines;
use crate::sandbox::finish;
use std::path::Path;
use std::process::Command;

fn shell(script: &str) -> crate::sandbox::Done {
    let mut command = Command::new("/bin/bash");
    command.args(["-c", script]);
    finish(command)
}

#[test]
fn it_installs_the_binary_its_pages_and_completions() {
    if !have_engines() {
        return;
    }
    let package = std::env::var("ROOTLET_PACKAGE").expect("ROOTLET_PACKAGE names the package");
    shell(&format!("dpkg -i {package}")).ok();
    assert!(shell("/usr/bin/rootlet --version").ok().out.starts_with("rootlet version "));
    let listed = shell("dpkg -L rootlet").ok().out;
    for file in [
        "/usr/share/man/man1/rootlet.1.gz",
        "/usr/share/man/man1/rootlet-checkpoint.1.gz",
        "/usr/share/bash-completion/completions/rootlet",
        "/usr/share/zsh/vendor-completions/_rootlet",
        "/usr/share/fish/vendor_completions.d/rootlet.fish",
        "/usr/share/rootlet/apparmor",
        "/usr/share/doc/rootlet/examples/podman/containers.conf",
    ] {
        assert!(listed.lines().any(|line| line == file), "{file} is not in {listed}");
    }
    let completed = shell(
        "source /usr/share/bash-completion/completions/rootlet; COMP_WORDS=(rootlet check); COMP_CWORD=1; \
         _rootlet rootlet check rootlet; printf '%s\\n' ${COMPREPLY[@]} | sort",
    );
    assert_eq!(completed.ok().out, "check\ncheckpoint\n");
    // The profile is for an AppArmor that knows its rule; the one of Debian 12 would not start with it.
    let knows = Path::new("/etc/apparmor.d/abi/4.0").exists();
    assert_eq!(Path::new("/etc/apparmor.d/rootlet").exists(), knows);
    shell("dpkg --purge rootlet").ok();
    assert!(!Path::new("/usr/bin/rootlet").exists() && !Path::new("/etc/apparmor.d/rootlet").exists());
}
