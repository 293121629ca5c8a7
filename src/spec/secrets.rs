//! What has keys, passwords, browsers' profiles and histories in a home.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Below a home: keys, passwords and tokens of programs, what was typed, and sockets of agents that use them.
pub const SECRETS: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".pki",
    ".aws",
    ".azure",
    ".boto",
    ".s3cfg",
    ".kube",
    ".docker",
    ".oci",
    ".fly",
    ".wrangler",
    ".terraform.d",
    ".vault-token",
    ".config/gh",
    ".config/hub",
    ".config/glab-cli",
    ".config/github-copilot",
    ".config/gcloud",
    ".config/doctl",
    ".config/heroku",
    ".config/netlify",
    ".config/op",
    ".config/rclone",
    ".config/containers",
    ".config/composer",
    ".config/git/credentials",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/opera",
    ".config/vivaldi",
    ".config/Signal",
    ".config/Slack",
    ".config/discord",
    ".claude",
    ".claude.json",
    ".codex",
    ".gemini",
    ".mozilla",
    ".thunderbird",
    ".password-store",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".local/share/fish",
    "snap",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".composer",
    ".gem/credentials",
    ".gradle/gradle.properties",
    ".m2/settings.xml",
    ".subversion",
    ".git-credentials",
    ".netrc",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".env",
    ".Xauthority",
    ".ICEauthority",
    ".bash_history",
    ".zsh_history",
    ".history",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".mysql_history",
    ".lesshst",
    ".viminfo",
    ".var/app",
    ".librewolf",
    ".waterfox",
    ".zen",
    ".config/google-chrome-beta",
    ".config/qutebrowser",
    ".config/epiphany",
    ".config/mozilla",
    ".cache/mozilla",
    ".cache/google-chrome",
    ".cache/chromium",
    ".config/vivaldi-snapshot",
    ".config/Bitwarden",
    ".config/keepassxc",
    ".config/filezilla",
    ".config/remmina",
    ".config/sops",
    ".config/age",
    ".config/evolution",
    ".config/1Password",
    ".config/configstore",
    ".config/openstack",
    ".config/tigervnc",
    ".config/syncthing",
    ".local/state/syncthing",
    ".local/share/password-store",
    ".local/share/TelegramDesktop",
    ".local/share/mkcert",
    ".authinfo",
    ".authinfo.gpg",
    ".netrc.gpg",
    ".msmtprc",
    ".fetchmailrc",
    ".mbsyncrc",
    ".muttrc",
    ".config/mutt",
    ".smbcredentials",
    ".mylogin.cnf",
    ".vnc",
    ".purple",
    ".bitcoin",
    ".electrum",
    ".ethereum",
    ".dockercfg",
    ".terraformrc",
    ".databrickscfg",
    ".snowsql",
    ".snowflake",
    ".dbt",
    ".kaggle",
    ".huggingface",
    ".cache/huggingface/token",
    ".pulumi",
    ".chef",
    ".tsh",
    ".step",
    ".talos",
    ".aliyun",
    ".ngrok2",
    ".openstack",
    ".mitmproxy",
    ".ibmcloud",
    ".bluemix",
    ".config/argocd",
    ".config/helm",
    ".config/hcloud",
    ".config/scw",
    ".config/stripe",
    ".config/ngrok",
    ".config/gh-copilot",
    ".config/goose",
    ".config/pip",
    ".config/pypoetry",
    ".config/uv",
    ".config/opencode",
    ".config/nix/nix.conf",
    ".config/Code/User/globalStorage",
    ".config/Cursor",
    ".cursor",
    ".config/VSCodium/User/globalStorage",
    ".config/JetBrains",
    ".pip",
    ".nuget",
    ".sbt/.credentials",
    ".ivy2/.credentials",
    ".bundle/config",
    ".ansible",
    ".vault_pass.txt",
    ".local/share/opencode",
    ".local/share/goose",
    ".histfile",
    ".zhistory",
    ".sh_history",
    ".local/state/bash",
    ".local/state/zsh",
    ".local/share/zsh",
    ".local/share/atuin",
    ".local/share/nushell",
    ".config/nushell",
    ".config/fish/fish_history",
    ".rediscli_history",
    ".sqlite_history",
    ".irb_history",
    ".mongosh",
    ".dbshell",
    ".ipython",
    ".gdb_history",
    ".wget-hsts",
    ".recently-used",
    ".local/share/recently-used.xbel",
    ".config/Bitwarden CLI",
];

/// Those of a home that are there, without links, and what links in them lead to.
pub fn find(home: &Path) -> Vec<PathBuf> {
    // One look at the home is cheaper than one for each.
    let listed = std::fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names: BTreeSet<OsString> = listed.collect();
    let may_be_there = |secret: &&&str| {
        let first = Path::new(secret).components().next();
        names.is_empty() || first.is_some_and(|first| names.contains(first.as_os_str()))
    };
    let mut all = Vec::new();
    for secret in SECRETS.iter().filter(may_be_there).filter_map(|secret| home.join(secret).canonicalize().ok()) {
        add_targets(&secret, &mut all, DEPTH_OF_LINKS);
        all.push(secret);
    }
    all
}

/// How deep links are looked for in what has secrets: whoever keeps them elsewhere links single files.
const DEPTH_OF_LINKS: u32 = 2;

/// As many entries of a directory are looked at.
const MOST_ENTRIES: usize = 200;

/// Adds what links in a directory lead to, where it is not in the directory itself.
fn add_targets(directory: &Path, all: &mut Vec<PathBuf>, depth: u32) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().take(MOST_ENTRIES) {
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => {
                let target = entry.path().canonicalize().ok();
                all.extend(target.filter(|target| !target.starts_with(directory) && target.is_file()));
            }
            Ok(kind) if kind.is_dir() && depth > 1 => add_targets(&entry.path(), all, depth - 1),
            _ => {}
        }
    }
}
